package realnix

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// settle waits until there are want processes inside: a worker outlives its connection by a moment.
func settle(t *testing.T, d *Daemon, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(d.Processes()) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the processes inside are %v, want %d", d.Processes(), want)
		}
	}
}

// oldest maps suites to the oldest protocol that their daemons may speak. The packages of a suite change, so tests look at
// the negotiated version.
var oldest = map[string]uint64{"bullseye": 1<<8 | 21, "bookworm": 1<<8 | 34, "trixie": 1<<8 | 38, "sid": 1<<8 | 38}

// greet connects and exchanges magic numbers and versions, independently of the code of Start.
func greet(t *testing.T, d *Daemon) (net.Conn, uint64) {
	t.Helper()
	conn, err := net.Dial("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte("cxin\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 16)
	if _, err := io.ReadFull(conn, reply); err != nil {
		t.Fatal(err)
	}
	if magic := string(reply[:8]); magic != "oixd\x00\x00\x00\x00" {
		t.Fatalf("the daemon answers with %q", magic)
	}
	return conn, binary.LittleEndian.Uint64(reply[8:])
}

func TestDaemon(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		t.Parallel()
		begin := time.Now()
		d := Start(t, s, nil)
		t.Logf("started in %v", time.Since(begin))

		_, version := greet(t, d)
		t.Logf("Nix %s speaks 1.%d", d.Version, version&0xff)
		if version != d.Protocol || version < oldest[s.Name] {
			t.Errorf("the daemon speaks %#x, Start returned %#x, and %#x is the minimum", version, d.Protocol, oldest[s.Name])
		}

		if got, want := d.MustRun(t, "nix-store", "--version"), "nix-store (Nix) "+s.Version+"\n"; got != want {
			t.Errorf("nix-store --version says %q, want %q", got, want)
		}

		// A file of the host.
		if err := os.WriteFile(d.HostPath("/tmp/hello"), []byte("hello\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSpace(d.MustRun(t, "nix-store", "--add", "/tmp/hello"))
		d.MustRun(t, "nix-store", "--check-validity", path)
		if text, err := os.ReadFile(d.HostPath(path)); err != nil || string(text) != "hello\n" {
			t.Errorf("outside, %s is %q, %v", path, text, err)
		}

		// A failing command prints its error.
		absent := strings.Replace(path, "/nix/store/", "/nix/store/0", 1)
		absent = absent[:len("/nix/store/")+32] + "-absent"
		if _, stderr, err := d.Run("nix-store", "--check-validity", absent); err == nil || !strings.Contains(stderr, "not valid") {
			t.Errorf("checking %s: %v, %q", absent, err, stderr)
		}

		// Commands connect to the daemon.
		cmd := d.Command(t.Context(), "nix-store", "--check-validity", path)
		cmd.Env = append(cmd.Env, "NIX_REMOTE=unix:///nix/nowhere")
		if err := cmd.Run(); err == nil {
			t.Error("nix-store found a daemon on a socket that does not exist")
		}

		// A command with a standard input.
		cmd = d.Command(t.Context(), "sh", "-c", "cat; pwd; echo $NIX_REMOTE; ls -d /proc/self /dev/null /nix/store")
		cmd.Stdin = strings.NewReader("from stdin\n")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "from stdin\n/\ndaemon\n/dev/null\n/nix/store\n/proc/self\n" {
			t.Errorf("sh said %q, %v", out, err)
		}

		// The root belongs to the suite, and is read-only.
		if stdout, _, err := d.Run("touch", "/usr/touched"); err == nil {
			t.Error("the suite's root is writable", stdout)
		}
	})
}

// build is a Nix expression of a derivation without inputs.
const build = `derivation { name = "built"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "%s" ]; }`

func TestBuild(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		t.Parallel()
		// Without a sandbox; and, as usual, with a sandbox and build users.
		configs := map[string]map[string]string{"plain": nil}
		if os.Geteuid() == 0 {
			configs["sandbox"] = map[string]string{
				"sandbox": "true", "sandbox-fallback": "false", "build-users-group": "nixbld",
				"sandbox-paths": "/bin /lib /lib64 /usr",
			}
		}
		for name, config := range configs {
			t.Run(name, func(t *testing.T) {
				d := Start(t, s, &Options{Config: config})
				expr := fmt.Sprintf(build, "echo of $(id -u) in $PWD > $out")
				path := strings.TrimSpace(d.MustRun(t, "nix-build", "--no-out-link", "--expr", expr))
				text, err := os.ReadFile(d.HostPath(path))
				if err != nil || !strings.HasPrefix(string(text), "of ") {
					t.Errorf("built %q, %v", text, err)
				}
				sandboxed := strings.HasSuffix(string(text), " in /build\n") && !strings.HasPrefix(string(text), "of 0 ")
				if sandboxed != (name == "sandbox") {
					t.Errorf("built %q", text)
				}
			})
		}
	})
}

func TestUntrusted(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		t.Parallel()
		// Only trusted users may import unsigned paths.
		for _, untrusted := range []bool{false, true} {
			d := Start(t, s, &Options{Untrusted: untrusted})
			path := strings.TrimSpace(d.MustRun(t, "nix-build", "--no-out-link", "--expr", fmt.Sprintf(build, "echo > $out")))
			d.MustRun(t, "sh", "-c", "nix-store --export "+path+" > /tmp/export && nix-store --delete "+path)
			_, stderr, err := d.Run("sh", "-c", "nix-store --import < /tmp/export")
			if refused := err != nil; refused != untrusted {
				t.Errorf("untrusted %v: import: %v, %s", untrusted, err, stderr)
			}
		}
	})
}

func TestTwoAtOnce(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		a, b := Start(t, s, nil), Start(t, s, nil)
		path := strings.TrimSpace(a.MustRun(t, "nix-store", "--add", "/etc/passwd"))
		a.MustRun(t, "nix-store", "--check-validity", path)
		if _, _, err := b.Run("nix-store", "--check-validity", path); err == nil {
			t.Error("two daemons share a store")
		}
		b.Kill()
		a.MustRun(t, "nix-store", "--check-validity", path)
	})
}

func TestKillAndRestart(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		d := Start(t, s, nil)
		path := strings.TrimSpace(d.MustRun(t, "nix-store", "--add", "/etc/passwd"))
		conn, _ := greet(t, d)
		settle(t, d, 2) // the daemon and our worker

		d.Kill()
		if pids := d.Processes(); len(pids) != 0 {
			t.Errorf("killed, but processes are left: %v", pids)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("killed, but the connection is open")
		}
		if _, err := net.Dial("unix", d.Socket); err == nil {
			t.Error("killed, but it accepts connections")
		}
		cmd := d.Command(t.Context(), "nix-store", "--check-validity", path)
		cmd.Env = append(cmd.Env, "NIX_REMOTE=local")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("the store of a killed daemon: %v\n%s", err, out)
		}

		d.Restart()
		d.MustRun(t, "nix-store", "--check-validity", path)
		d.Restart()
		greet(t, d)
	})
}

func TestCommandIsKilledWithItsChildren(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		d := Start(t, s, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := d.Command(ctx, "sh", "-c", "sleep 1000; echo done").Run(); err == nil {
			t.Error("the command was not killed")
		}
		settle(t, d, 1) // the daemon
	})
}

// mentions returns the processes whose environment or arguments contain the text.
func mentions(t *testing.T, text string) (pids []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if pid := filepath.Base(filepath.Dir(file)); pid != strconv.Itoa(os.Getpid()) {
			args, _ := os.ReadFile(file)
			env, _ := os.ReadFile(filepath.Dir(file) + "/environ")
			if strings.Contains(string(args)+string(env), text) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestNothingIsLeft(t *testing.T) {
	Each(t, func(t *testing.T, s Suite) {
		var d *Daemon
		mark := fmt.Sprintf("REALNIX_TEST_MARK=%d-%d", os.Getpid(), time.Now().UnixNano())
		t.Run("inner", func(t *testing.T) {
			d = Start(t, s, &Options{Env: []string{mark}})
			greet(t, d) // the connection stays open
			d.MustRun(t, "nix-store", "--add", "/usr/share/common-licenses")
			d.MustRun(t, "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
			if len(mentions(t, mark)) == 0 {
				t.Error("no process has the mark")
			}
		})
		if pids := mentions(t, mark); len(pids) != 0 {
			t.Errorf("processes are left: %v", pids)
		}
		if _, err := os.Lstat(d.tmp); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", d.tmp, err)
		}
	})
}

// TestDeathOfTheTest runs this test again in a separate process, which starts a daemon and is then killed.
func TestDeathOfTheTest(t *testing.T) {
	const role = "REALNIX_TEST_VICTIM"
	if name := os.Getenv(role); name != "" {
		d := Start(t, Get(t, strings.Split(name, " ")[0]), &Options{Env: []string{role + "=" + name}})
		greet(t, d)
		fmt.Println(d.tmp)
		select {}
	}
	Each(t, func(t *testing.T, s Suite) {
		mark := fmt.Sprintf("%s %d %d", s.Name, os.Getpid(), time.Now().UnixNano())
		victim := exec.Command(os.Args[0], "-test.run=^TestDeathOfTheTest$")
		victim.Env = append(os.Environ(), role+"="+mark)
		stdout, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		var tmp string
		if _, err := fmt.Fscanln(stdout, &tmp); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(tmp)
		if len(mentions(t, mark)) < 3 {
			t.Error("the victim has no daemon with a worker")
		}
		victim.Process.Kill()
		victim.Wait()
		for deadline := time.Now().Add(10 * time.Second); len(mentions(t, mark)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the test was killed, but processes are left: %v", mentions(t, mark))
			}
		}
	})
}

func TestSuites(t *testing.T) {
	t.Setenv("PIX_NIX_DAEMONS", "")
	if found := Suites(); len(found) != 0 {
		t.Errorf("without PIX_NIX_DAEMONS there are %v", found)
	}

	dir := t.TempDir()
	t.Setenv("PIX_NIX_DAEMONS", dir)
	for _, s := range []Suite{{"sid", "2.34.8", ""}, {"bookworm", "2.8.0", ""}} {
		if err := os.Mkdir(filepath.Join(dir, s.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		stamp := fmt.Sprintf("layout 1\nsuite %s\nnix %s\npackage nix-bin %s-1\n", s.Name, s.Version, s.Version)
		if err := os.WriteFile(filepath.Join(dir, s.Name, ".nix-daemons"), []byte(stamp), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []Suite{{"bookworm", "2.8.0", dir + "/bookworm"}, {"sid", "2.34.8", dir + "/sid"}}
	if got := Suites(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// ender is a testing.TB that records how the test ends.
type ender struct {
	testing.TB
	how string
}

func (e *ender) Helper()             {}
func (e *ender) Logf(string, ...any) {}
func (e *ender) Fatal(...any)        { e.how = "failed"; panic(e) }
func (e *ender) Skip(...any)         { e.how = "skipped"; panic(e) }
func (e *ender) SkipNow()            { e.how = "skipped"; panic(e) }

func TestRequire(t *testing.T) {
	t.Setenv("PIX_NIX_DAEMONS", t.TempDir())
	for _, test := range []struct{ require, suite, want string }{
		{"", "bookworm", "skipped"},
		{"data,corpus", "trixie", "skipped"},
		{"daemons,data,corpus", "bookworm", "failed"},
		{"data,daemons", "trixie", "failed"},
		{"daemons", "sid", "skipped"},
		{"daemons", "bullseye", "skipped"},
	} {
		t.Setenv("PIX_TEST_REQUIRE", test.require)
		e := new(ender)
		func() {
			defer func() { recover() }()
			Get(e, test.suite)
		}()
		if e.how != test.want {
			t.Errorf("%s with PIX_TEST_REQUIRE=%s: %s, want %s", test.suite, test.require, e.how, test.want)
		}
	}
}
