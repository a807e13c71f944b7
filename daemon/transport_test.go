package daemon_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/protocol"
)

// TestMain lets the test binary play ssh, and a daemon on its standard streams.
func TestMain(m *testing.M) {
	if role := os.Getenv("PIX_TEST_ROLE"); role != "" {
		playRole(role)
		return
	}
	os.Exit(m.Run())
}

// stdio is a connection on the standard streams.
type stdio struct{ net.Conn }

func (stdio) Read(p []byte) (int, error)  { return os.Stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return os.Stdout.Write(p) }
func (stdio) Close() error                { return nil }

func playRole(role string) {
	switch role {
	case "daemon":
		fakeServe(stdio{}, newest, (*peer).serveAll)
	case "started":
		fmt.Println("started")
		fakeServe(stdio{}, newest, (*peer).serveAll)
	case "banner":
		fmt.Println("Welcome to the machine!")
		fmt.Fprintln(os.Stderr, "this account is not available")
	case "refused":
		fmt.Fprintln(os.Stderr, "Permission denied (publickey).")
		os.Exit(255)
	case "stubborn": // a daemon that does not exit
		fakeServe(stdio{}, newest, (*peer).serveAll)
		time.Sleep(time.Hour)
	case "dies":
		fakeServe(stdio{}, newest, func(p *peer) {
			p.next()
			fmt.Fprintln(os.Stderr, "client_loop: send disconnect: Broken pipe")
			os.Exit(255)
		})
	}
}

func role(t *testing.T, name string) daemon.Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return daemon.Command{Args: []string{self}, Env: []string{"PIX_TEST_ROLE=" + name, "GORACE=atexit_sleep_ms=0"}}
}

func TestCommand(t *testing.T) {
	c, err := daemon.DialTransport(t.Context(), role(t, "daemon"), nil)
	if err != nil {
		t.Fatal(err)
	}
	stillGood(t, t.Context(), c)
	if err := readFakeNAR(t.Context(), c); err != nil {
		t.Error(err)
	}
	if _, err := c.AddTextToStore(t.Context(), "hello.txt", "hello world", nil); err != nil {
		t.Error(err)
	}
	c.Close()
	if children(t) != 0 {
		t.Error("the command still runs after Close")
	}
}

// A command that does not exit is killed.
func TestStubbornCommand(t *testing.T) {
	c, err := daemon.DialTransport(t.Context(), role(t, "stubborn"), nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c.Close()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("closing took %v", took)
	}
	if children(t) != 0 {
		t.Error("the command still runs after Close")
	}
}

// children counts the processes whose parent is this one.
func children(t *testing.T) (n int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Skip("this system has no /proc")
	}
	for _, stat := range stats {
		b, _ := os.ReadFile(stat)
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == fmt.Sprint(os.Getpid()) {
			n++
		}
	}
	return n
}

// The error about a command that is not a daemon has its output and its standard error.
func TestCommandThatIsNoDaemon(t *testing.T) {
	for name, want := range map[string][]string{
		"banner":  {`received "Welcome to the machine!"`, "printed: this account is not available"},
		"refused": {"the daemon closed the connection", "exit status 255", "printed: Permission denied (publickey)."},
	} {
		_, err := daemon.DialTransport(t.Context(), role(t, name), nil)
		var dial *daemon.DialError
		var command *daemon.CommandError
		if !errors.As(err, &dial) || !errors.As(err, &command) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", name, err, w)
			}
		}
	}
	_, err := daemon.DialTransport(t.Context(), daemon.Command{Args: []string{"/nowhere/nix-daemon", "--stdio"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "/nowhere/nix-daemon") {
		t.Errorf("%v", err)
	}
	if _, err := daemon.DialTransport(t.Context(), daemon.Command{}, nil); err == nil {
		t.Error("no command was run")
	}
}

// The error about a command that exits has the reason.
func TestCommandDies(t *testing.T) {
	c, err := daemon.DialTransport(t.Context(), role(t, "dies"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.IsValidPath(t.Context(), helloPath)
	if !errors.Is(err, daemon.ErrConnLost) || !strings.Contains(err.Error(), "send disconnect: Broken pipe") {
		t.Errorf("%v", err)
	}
}

// fakeSSH puts a script named ssh first in PATH. It returns the file to which the script writes
// its arguments.
func fakeSSH(t *testing.T, script string) (args string) {
	t.Helper()
	dir := t.TempDir()
	args = filepath.Join(dir, "args")
	text := "#!/bin/sh\nprintf '%s\\n' \"$@\" > " + args + "\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return args
}

func TestSSH(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, plays := range []string{"started", "daemon"} { // a shared connection does not print the greeting
		args := fakeSSH(t, "PIX_TEST_ROLE="+plays+" GORACE=atexit_sleep_ms=0 exec "+self)
		ssh, err := daemon.ParseSSH("ssh-ng://me@host:2222?ssh-key=/key&compress=true&remote-program=/bin/nix-daemon&remote-store=local&base64-ssh-public-host-key=c3NoLWVkMjU1MTkgQUFBQQ==")
		if err != nil {
			t.Fatal(err)
		}
		ssh.Options = []string{"-v"}
		c, err := daemon.DialTransport(t.Context(), ssh, nil)
		if err != nil {
			t.Fatal(err)
		}
		stillGood(t, t.Context(), c)
		b, err := os.ReadFile(args)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSpace(string(b)), "\n")
		hosts, ok := strings.CutPrefix(got[5], "-oUserKnownHostsFile=")
		got[5] = ""
		want := []string{"me@host", "-x", "-v", "-i", "/key", "", "-C", "-p2222", "-oPermitLocalCommand=yes",
			"-oLocalCommand=echo started", "--", "/bin/nix-daemon", "--stdio", "--store", "local"}
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("ssh was called with %q, want %q", got, want)
		}
		if b, err := os.ReadFile(hosts); string(b) != "host ssh-ed25519 AAAA\n" {
			t.Errorf("the host's key is %q, %v", b, err)
		}
		c.Close()
		if _, err := os.Stat(hosts); err == nil {
			t.Error("the file with the host's key still exists")
		}
	}
}

func TestSSHFails(t *testing.T) {
	fakeSSH(t, "echo 'ssh: Could not resolve hostname nowhere: Name or service not known' >&2; exit 255")
	_, err := daemon.DialTransport(t.Context(), &daemon.SSH{Host: "nowhere"}, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "connecting to the Nix daemon at 'ssh-ng://nowhere': ") || !strings.Contains(err.Error(), "Could not resolve hostname") {
		t.Errorf("%v", err)
	}
}

func TestParseSSH(t *testing.T) {
	for uri, want := range map[string]daemon.SSH{
		"ssh-ng://host":                         {Host: "host"},
		"ssh-ng://me@host":                      {User: "me", Host: "host"},
		"ssh-ng://host:22":                      {Host: "host", Port: 22},
		"ssh-ng://[fe80::1]:22":                 {Host: "fe80::1", Port: 22},
		"ssh-ng://me@fe80::1":                   {User: "me", Host: "fe80::1"},
		"ssh-ng://h?remote-program=sudo%20nixd": {Host: "h", RemoteProgram: []string{"sudo", "nixd"}},
	} {
		got, err := daemon.ParseSSH(uri)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v", uri, got, err)
		}
	}
	for _, uri := range []string{"host", "ssh://host", "ssh-ng://", "ssh-ng://-oProxyCommand=x", "ssh-ng://-x@host", "ssh-ng://@host",
		"ssh-ng://me:secret@host", "ssh-ng://host/path", "ssh-ng://host:0", "ssh-ng://host:99999", "ssh-ng://host?compress=maybe",
		"ssh-ng://host?unknown=1", "ssh-ng://host?compress=1&compress=0", "ssh-ng://ho st", "ssh-ng://host?%zz"} {
		if got, err := daemon.ParseSSH(uri); err == nil {
			t.Errorf("%s: %+v", uri, got)
		}
	}
	if s := (&daemon.SSH{User: "me", Host: "fe80::1", Port: 22}).String(); s != "ssh-ng://me@[fe80::1]:22" {
		t.Error(s)
	}
}

func TestSplitSSHOptions(t *testing.T) {
	for s, want := range map[string][]string{
		"":                          nil,
		" -v  -p 22\n":              {"-v", "-p", "22"},
		`-o "ProxyCommand nc %h 1"`: {"-o", "ProxyCommand nc %h 1"},
		`a'b c'd "" \ e '\'`:        {"ab cd", "", " e", `\`},
	} {
		if got, err := daemon.SplitSSHOptions(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	if _, err := daemon.SplitSSHOptions("a 'b"); err == nil {
		t.Error("an unclosed quote was accepted")
	}
}

// A socket may have a path that is too long for its address.
func TestLongSocketPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	short, err := os.MkdirTemp("", "px")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	l, err := net.Listen("unix", filepath.Join(short, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		nc, err := l.Accept()
		if err == nil {
			fakeServe(nc, newest, (*peer).serveAll)
		}
	}()
	if err := os.Rename(filepath.Join(short, "socket"), filepath.Join(dir, "socket")); err != nil {
		t.Fatal(err)
	}
	c, err := daemon.Dial(t.Context(), filepath.Join(dir, "socket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stillGood(t, t.Context(), c)
	_, err = daemon.Dial(t.Context(), filepath.Join(dir, "none"), nil)
	if err == nil || !strings.Contains(err.Error(), "no such file or directory") {
		t.Errorf("%v", err)
	}
}

// The daemons' own commands run behind a fake ssh.
func TestRealSSH(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		cmd := d.Command(t.Context(), "nix-daemon")
		script := "shift; while [ \"$1\" != -- ]; do shift; done; shift; echo started\n" +
			strings.Join(append([]string{"exec", "env"}, quoted(append(cmd.Env[:len(cmd.Env)-1:len(cmd.Env)-1], "NIX_REMOTE=local"))...), " ") + " " +
			strings.Join(quoted(cmd.Args[:len(cmd.Args)-1]), " ") + ` "$@"`
		fakeSSH(t, script)
		p, err := daemon.Open(t.Context(), &daemon.SSH{Host: "host"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		path, err := p.AddTextToStore(t.Context(), "hello.txt", "hello world", nil)
		if err != nil || path != helloPath {
			t.Errorf("%s, %v", path, err)
		}
		r, err := p.NARFromPath(t.Context(), helloPath)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		info, err := p.Info(t.Context())
		if err != nil || uint64(info.DaemonVersion) != d.Protocol {
			t.Errorf("%+v, %v", info, err)
		}
		if info.Version >= protocol.MakeVersion(35) && info.Trust != protocol.Trusted {
			t.Errorf("the trust level is %s", info.Trust)
		}
		p.Close()
	})
}

func quoted(words []string) (q []string) {
	for _, w := range words {
		q = append(q, "'"+w+"'")
	}
	return q
}
