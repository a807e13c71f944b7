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
	"syscall"
	"testing"
	"time"
)

// Where things are inside. All other directories follow from them.
const (
	confDir    = "/nix/etc"
	socketPath = "/nix/var/nix/daemon-socket/socket"
)

// startLimit is how long a daemon may take until it answers. It takes 20 ms; a loaded machine may take long.
const startLimit = 60 * time.Second

// Options say how a daemon differs from the usual one. Nil means that it does not.
type Options struct {
	// Config are settings for nix.conf, which clients run by [Client.Command] read too. They replace the defaults, which are:
	// no build users, no substituters, no sandbox, no fsync, and the experimental feature nix-command where there is one.
	Config map[string]string

	// Untrusted makes the daemon trust nobody, not even root.
	Untrusted bool

	// Args are arguments for nix-daemon.
	Args []string

	// Env is added to the daemon's environment, as "KEY=value".
	Env []string

	// Program is run instead of nix-daemon, with Args: a file from outside, which must be
	// linked statically. It has to listen where nix-daemon does.
	Program string
}

// A Daemon is a running nix-daemon with a store of its own. [Daemon.Kill] and [Daemon.Restart] are for one goroutine at a time,
// that of the test; everything else is for any number.
type Daemon struct {
	Client

	// Dir is the daemon's /nix as seen from outside.
	Dir string

	// Socket is where the daemon listens, as seen from outside.
	Socket string

	// Protocol is the worker protocol's version that the daemon speaks, as it is on the wire: 1.38 is 1<<8 | 38.
	Protocol uint64

	t     testing.TB
	opts  Options
	tmp   string // holds Dir, and all else that is private
	log   *os.File
	ended chan struct{} // closed when the daemon that was started last has ended
}

// Start starts a daemon with an empty store, and waits until it answers. It and all its processes end with the test. Where
// the system does not allow a daemon to be started (no namespaces), the test skips, or, if the suite is required, fails.
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

// makeDirs makes the private directories and nix.conf.
func (d *Daemon) makeDirs() error {
	// A socket's path has at most 107 bytes.
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

// config is the text of nix.conf.
func (d *Daemon) config() string {
	config := map[string]string{
		"build-users-group": "",
		"substituters":      "",
		"hashed-mirrors":    "", // 2.3 asks one on the Internet
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

// start starts nix-daemon in the namespaces that are there, and waits until it answers.
func (d *Daemon) start() {
	d.t.Helper()
	program := "nix-daemon"
	if d.opts.Program != "" {
		program = d.bring(d.opts.Program)
	}
	args := append([]string{program}, d.opts.Args...)
	cmd := d.Command(context.Background(), args...)
	// Without this the daemon may take itself for a client, connect to itself, and fork without end.
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
			d.t.Fatalf("Nix %s: nix-daemon ended at once:\n%s", d.Version, d.Stderr())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("Nix %s: nix-daemon does not answer after %v: %v\n%s", d.Version, startLimit, err, d.Stderr())
		}
	}
	// A test that counts processes wants to find those of its own connections, not that of ours.
	for len(d.Processes()) > 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
}

// bring copies a program inside, and returns its name there.
func (d *Daemon) bring(program string) string {
	d.t.Helper()
	name := "/root/" + filepath.Base(program)
	text, err := os.ReadFile(program)
	if err == nil {
		err = os.WriteFile(d.HostPath(name), text, 0o755)
	}
	if err != nil && !errors.Is(err, syscall.ETXTBSY) { // it is there, and runs
		d.t.Fatal(err)
	}
	return name
}

// handshake exchanges the first words of the worker protocol, and learns the daemon's version.
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
		return fmt.Errorf("the daemon greets with %#x, not %#x", magic, serverMagic)
	}
	d.Protocol = binary.LittleEndian.Uint64(reply[8:])
	return nil
}

// Kill kills the daemon and everything that runs inside, at once and without warning, as a crash would. The store stays as
// it is, and commands may still be run on it, say with NIX_REMOTE=local.
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

// Processes returns the processes that run inside, by their ids outside: the daemon, a worker for each connection, builders,
// commands.
func (d *Daemon) Processes() []int { return d.holder.others() }

// Stderr returns what the daemon has said so far.
func (d *Daemon) Stderr() string {
	text, err := os.ReadFile(filepath.Join(d.tmp, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// HostPath returns where a path inside is to be found outside: a store path, or one below /nix, /tmp (the place to hand files
// to a command) or /root (the home directory).
func (d *Daemon) HostPath(path string) string { return filepath.Join(d.tmp, path) }

// stop ends everything and removes all files.
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

// removeAll is os.RemoveAll for store paths too, in which directories are read-only, which stops anybody but root.
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

// A Client runs commands of one version of Nix inside, where a daemon is. The Nix of the
// daemon itself is one; [Daemon.ClientOf] makes others.
type Client struct {
	Suite
	holder *holder
}

// ClientOf returns a client of another version that sees the daemon's files where the daemon
// sees them. It ends with the test, or with its daemon's.
func (d *Daemon) ClientOf(t testing.TB, s Suite) *Client {
	t.Helper()
	h, err := hold(s.Root, d.tmp, d.log)
	if err != nil {
		unavailable(t, s, fmt.Errorf("cannot run a real Nix here: %w\n%s", err, d.Stderr()))
	}
	t.Cleanup(h.end)
	return &Client{s, h}
}

// Command returns a command that will run inside, with the daemon's own version of Nix, as a client of the daemon. Before it is
// started, the caller may set its standard streams and append to its Env (NIX_REMOTE=local makes it work on the store
// itself). When ctx is done, it is killed with all its children; killing its Process instead would leave them.
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

// Run runs a command as [Client.Command] describes it, and returns what it said.
func (c *Client) Run(args ...string) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	cmd := c.Command(context.Background(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// MustRun is [Client.Run] for a command that has to succeed. It returns the standard output.
func (c *Client) MustRun(t testing.TB, args ...string) string {
	t.Helper()
	stdout, stderr, err := c.Run(args...)
	if err != nil {
		t.Fatalf("Nix %s: %s: %v\n%s", c.Version, strings.Join(args, " "), err, stderr)
	}
	return stdout
}
