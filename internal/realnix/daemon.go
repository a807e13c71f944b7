package realnix

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The layout inside of the namespaces. All other directories follow from it.
const (
	confDir    = "/nix/etc"
	socketPath = "/nix/var/nix/daemon-socket/socket"
)

// startLimit is the time in which a daemon must answer. It usually takes 20 ms, but a loaded machine may be slow.
const startLimit = 60 * time.Second

// Options configure a daemon. Nil is the default configuration.
type Options struct {
	// Config are settings for nix.conf, which clients run by [Client.Command] read too. They override the defaults: no
	// build users, no substituters, no sandbox, no fsync, and the experimental feature nix-command if there is one.
	Config map[string]string

	// Untrusted makes the daemon trust no user, not even root.
	Untrusted bool

	// Args are arguments for nix-daemon.
	Args []string

	// Env is added to the daemon's environment, as "KEY=value".
	Env []string

	// Program is run instead of nix-daemon, with Args: a statically linked file of the host. It must listen on
	// the socket of nix-daemon.
	Program string
}

// A Daemon is a running nix-daemon with its own store. [Daemon.Kill] and [Daemon.Restart] must be called on the goroutine
// of the test; all other methods may be called concurrently.
type Daemon struct {
	Client

	// Dir is the daemon's /nix as a path of the host.
	Dir string

	// Socket is the daemon's socket as a path of the host.
	Socket string

	// Protocol is the version of the worker protocol that the daemon speaks, as on the wire: 1.38 is 1<<8 | 38.
	Protocol uint64

	t     testing.TB
	opts  Options
	tmp   string // contains Dir and the other private directories
	log   *os.File
	ended chan struct{} // closed when the most recent daemon process has ended
}

// Start starts a daemon with an empty store, and waits until it answers. The daemon and all its processes end with the test.
// If the system does not support the necessary namespaces, the test is skipped, or, if the suite is required, fails.
func Start(t testing.TB, s Suite, opts *Options) *Daemon {
	t.Helper()
	if opts == nil {
		opts = new(Options)
	}
	d := &Daemon{Client: Client{Suite: s}, t: t, opts: *opts}
	if err := d.makeDirs(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)

	var err error
	if d.holder, err = hold(s.Root, d.tmp, d.log); err != nil {
		unavailable(t, s, fmt.Errorf("cannot run a real Nix here: %w\n%s", err, d.Stderr()))
	}
	d.start()
	return d
}

// makeDirs creates the private directories and nix.conf.
func (d *Daemon) makeDirs() error {
	// The path of a socket has at most 107 bytes, so it must be short.
	base := os.TempDir()
	if len(base) > 50 {
		base = "/tmp"
	}
	var err error
	if d.tmp, err = os.MkdirTemp(base, "px"); err != nil {
		return err
	}
	d.Dir = d.HostPath("/nix")
	d.Socket = d.HostPath(socketPath)
	for _, dir := range append(slices.Clone(private), confDir) {
		if err := os.MkdirAll(d.HostPath(dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(d.HostPath("/tmp"), 0o777|fs.ModeSticky); err != nil {
		return err
	}
	if d.log, err = os.OpenFile(filepath.Join(d.tmp, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		return err
	}
	return os.WriteFile(d.HostPath(confDir+"/nix.conf"), []byte(d.config()), 0o644)
}

// config returns the text of nix.conf.
func (d *Daemon) config() string {
	config := map[string]string{
		"build-users-group": "",
		"substituters":      "",
		"hashed-mirrors":    "", // 2.3 would ask one on the Internet
		"sandbox":           "false",
		"fsync-metadata":    "false",
		"trusted-users":     "root",
	}
	if !strings.HasPrefix(d.Version, "2.3.") {
		config["experimental-features"] = "nix-command"
	}
	if d.opts.Untrusted {
		config["trusted-users"] = ""
	}
	maps.Copy(config, d.opts.Config)

	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(config)) {
		fmt.Fprintf(&text, "%s = %s\n", key, config[key])
	}
	return text.String()
}

// start starts nix-daemon in the existing namespaces, and waits until it answers.
func (d *Daemon) start() {
	d.t.Helper()
	program := "nix-daemon"
	if d.opts.Program != "" {
		program = d.bring(d.opts.Program)
	}
	args := append([]string{program}, d.opts.Args...)
	cmd := d.Command(context.Background(), args...)
	// Otherwise the daemon may act as a client, connect to itself, and fork without end.
	cmd.Env = append(append(cmd.Env, "NIX_REMOTE=local"), d.opts.Env...)
	cmd.Stdout, cmd.Stderr = d.log, d.log
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan struct{})
	d.ended = ended
	go func() {
		cmd.Wait() // the log says more than the status
		close(ended)
	}()

	deadline := time.Now().Add(startLimit)
	for {
		err := d.handshake(deadline)
		if err == nil {
			break
		}
		select {
		case <-ended:
			d.t.Fatalf("Nix %s: nix-daemon ended immediately:\n%s", d.Version, d.Stderr())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("Nix %s: nix-daemon does not answer after %v: %v\n%s", d.Version, startLimit, err, d.Stderr())
		}
	}
	// A test that counts processes should not find the worker of this connection.
	for len(d.Processes()) > 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}

// bring copies a program into the namespaces, unless it was copied before, and returns its path there. This process must
// not write the file: if another test starts a command in that moment, the new process has the file open for writing
// until it executes its program, and the system refuses to execute the copy.
func (d *Daemon) bring(program string) string {
	d.t.Helper()
	name := "/root/" + filepath.Base(program)
	if _, err := os.Stat(d.HostPath(name)); err == nil {
		return name
	}
	if out, err := exec.Command("cp", program, d.HostPath(name)).CombinedOutput(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// handshake exchanges the first words of the worker protocol, and stores the daemon's version.
func (d *Daemon) handshake(deadline time.Time) error {
	const clientMagic, serverMagic = 0x6e697863, 0x6478696f
	conn, err := net.Dial("unix", d.Socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(deadline)
	if _, err := conn.Write(binary.LittleEndian.AppendUint64(nil, clientMagic)); err != nil {
		return err
	}
	var reply [16]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if magic := binary.LittleEndian.Uint64(reply[:8]); magic != serverMagic {
		return fmt.Errorf("the daemon answers with the magic number %#x, not %#x", magic, serverMagic)
	}
	d.Protocol = binary.LittleEndian.Uint64(reply[8:])
	return nil
}

// Kill kills the daemon and all processes inside with SIGKILL, as a crash would. The store is left as it is, and commands can
// still use it, for example with NIX_REMOTE=local.
func (d *Daemon) Kill() {
	d.t.Helper()
	d.holder.killOthers()
	<-d.ended
}

// Restart kills the daemon and starts it again on the same store.
func (d *Daemon) Restart() {
	d.t.Helper()
	d.Kill()
	d.start()
}

// Processes returns the processes inside, by their ids on the host: the daemon, a worker for each connection, builders, and
// commands.
func (d *Daemon) Processes() []int { return d.holder.others() }

// Stderr returns everything that the daemon has written to its standard error.
func (d *Daemon) Stderr() string {
	text, err := os.ReadFile(filepath.Join(d.tmp, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// HostPath returns the path on the host of a path inside: a store path, or a path below /nix, /tmp (for passing files to a
// command) or /root (the home directory).
func (d *Daemon) HostPath(path string) string { return filepath.Join(d.tmp, path) }

// stop ends all processes and removes all files.
func (d *Daemon) stop() {
	if d.holder != nil {
		d.holder.end()
	}
	if d.ended != nil {
		<-d.ended
	}
	d.log.Close()
	if err := removeAll(d.tmp); err != nil {
		d.t.Error(err)
	}
}

// removeAll is os.RemoveAll, but first makes directories writable: the ones of store paths are read-only, also for their owner.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			os.Chmod(path, 0o755)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// A Client runs commands of one version of Nix inside the namespaces of a daemon. A Daemon is a client of its own version;
// [Daemon.ClientOf] returns clients of other versions.
type Client struct {
	Suite
	holder *holder
}

// ClientOf returns a client of another version that sees the daemon's files under the same paths. It ends with the test, or
// with the test of its daemon.
func (d *Daemon) ClientOf(t testing.TB, s Suite) *Client {
	t.Helper()
	h, err := hold(s.Root, d.tmp, d.log)
	if err != nil {
		unavailable(t, s, fmt.Errorf("cannot run a real Nix here: %w\n%s", err, d.Stderr()))
	}
	t.Cleanup(h.end)
	return &Client{s, h}
}

// Command returns a command that runs inside, with this version of Nix, as a client of the daemon. Before starting it, the
// caller may set its standard streams and append to its Env (NIX_REMOTE=local makes it use the store directly). When ctx ends,
// the command is killed with all its children; killing only its Process would leave them running.
func (c *Client) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := c.holder.command(ctx, args)
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin",
		"HOME=/root",
		"TMPDIR=/tmp",
		"LANG=C.UTF-8",
		"NIX_CONF_DIR=" + confDir,
		"NIX_REMOTE=daemon",
	}
	return cmd
}

// Run runs a command as [Client.Command] does, and returns its output.
func (c *Client) Run(args ...string) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	cmd := c.Command(context.Background(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// MustRun is like [Client.Run], but fails the test if the command fails. It returns the standard output.
func (c *Client) MustRun(t testing.TB, args ...string) string {
	t.Helper()
	stdout, stderr, err := c.Run(args...)
	if err != nil {
		t.Fatalf("Nix %s: %s: %v\n%s", c.Version, strings.Join(args, " "), err, stderr)
	}
	return stdout
}
