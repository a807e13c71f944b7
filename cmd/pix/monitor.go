package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pix"
	"pix/monitor"
	"pix/protocol"
	"pix/server"
	"pix/storepath"
)

// monitorOptions are the flags of monitor.
type monitorOptions struct {
	listen string // the socket; "" for a temporary one
	output string // the file for the lines; "" for a stream
	asJSON bool

	record string
	bodies bool

	totals time.Duration // the time between totals; 0 for none before the end
	filter monitor.Filter
}

func newMonitor(a *app) *cobra.Command {
	var o monitorOptions
	cmd := &cobra.Command{
		Use:   "monitor [SERVER | FILE] [-- COMMAND ARGS...]",
		Short: "Show what clients say to a daemon",
		Long: `Show what clients say to a daemon, a line for each operation: its arguments, its result, its time
and its size. pix listens on a socket and passes every byte on to the daemon, SERVER, which is the
path or the URI of a socket, by default the daemon of this machine. Bytes that it does not
understand pass, too: it shows the first of them.

With a COMMAND, pix runs it with NIX_REMOTE and NIX_DAEMON_SOCKET_PATH set to the socket, prints the
lines to standard error, and exits with its code. With --listen it serves all clients of that
socket until it is interrupted. With a FILE, it prints a recording of --record or a trace of
--trace. At the end it prints totals, with a histogram of the times of each operation.

The daemon sees pix as its client, so only clients of the same user can connect. If root runs pix,
all users can: it connects to the daemon as the user of each client.

A recording has hashes and sizes instead of contents, unless --bodies is set. It never has the
values of secret settings. Only its owner can read it.`,
		Example: "  pix monitor -- nix build nixpkgs#hello\n" +
			"  pix monitor --errors -o log -- nix-store --verify\n" +
			"  pix monitor --listen /run/user/1000/monitor/socket\n" +
			"  pix monitor --record hello.trace -- pix add README.md\n" +
			"  pix monitor --operation QueryPathInfo --slower-than 10ms hello.trace",
		GroupID:           groupKeeping,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeMonitor,
		RunE: func(cmd *cobra.Command, args []string) error {
			var command []string
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args, command = args[:dash], args[dash:]
				if len(command) == 0 {
					return wrongUse(cmd, errors.New("the command after -- is missing"))
				}
			}
			if err := o.check(args, command); err != nil {
				return wrongUse(cmd, err)
			}
			return a.monitor(cmd.Context(), o, args, command)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *monitorOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", "", "the `path` of the socket to listen on")
	flags.StringVarP(&o.output, "output", "o", "", "print the lines to this `file`")
	flags.BoolVar(&o.asJSON, "json", false, "print a JSON object for each event")
	flags.StringVar(&o.record, "record", "", "write a recording to this `file`, which daemontest.Replay can replay")
	flags.BoolVar(&o.bodies, "bodies", false, "with --record: write contents instead of hashes and sizes")
	flags.DurationVar(&o.totals, "totals", 0, "print the totals so far after each `time` (default only at the end)")
	flags.StringSliceVar(&o.filter.Operations, "operation", nil, "print only operations with these `names`")
	flags.StringVar(&o.filter.Text, "match", "", "print only operations whose request or result contains this `text`, such as a path")
	flags.IntVar(&o.filter.PID, "pid", 0, "print only what the client with this process `id` does")
	flags.BoolVar(&o.filter.Errors, "errors", false, "print only operations that fail")
	flags.DurationVar(&o.filter.SlowerThan, "slower-than", 0, "print only operations that take longer than this `time`")
	completeFlag(cmd, "operation", completeOperations)
	for _, name := range []string{"listen", "output", "record"} {
		completeFlag(cmd, name, completeFiles)
	}
	for _, name := range []string{"totals", "match", "pid", "slower-than"} {
		freeValue(cmd, name)
	}
}

// check returns an error for flags that do not go together.
func (o *monitorOptions) check(args, command []string) error {
	serves := o.listen != "" || len(command) > 0
	switch {
	case len(args) > 1:
		return fmt.Errorf("give one SERVER or FILE, not '%s'; a command comes after --", strings.Join(args, " "))
	case !serves && len(args) == 0:
		return errors.New("name a command after --, a socket with --listen, or a recording")
	case !serves && (o.record != "" || o.totals != 0):
		return errors.New("--record and --totals need a command or --listen")
	case o.bodies && o.record == "":
		return errors.New("--bodies needs --record FILE")
	case o.totals < 0 || o.filter.SlowerThan < 0 || o.filter.PID < 0:
		return errors.New("--totals, --slower-than and --pid must not be negative")
	}
	for _, name := range o.filter.Operations {
		if !slices.ContainsFunc(operationNames(), func(known string) bool { return strings.EqualFold(known, name) }) {
			return fmt.Errorf("--operation: there is no operation '%s'; 'pix docs protocol#operations' lists them", name)
		}
	}
	return nil
}

// operationNames returns the names of all operations of the protocol.
func operationNames() []string {
	var names []string
	for _, op := range protocol.Operations() {
		names = append(names, op.Name)
	}
	return names
}

// completeOperations completes the names of operations.
func completeOperations(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return operationNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeMonitor completes a file: a socket or a recording.
func completeMonitor(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// monitor monitors a daemon, or prints a recording.
func (a *app) monitor(ctx context.Context, o monitorOptions, args, command []string) (err error) {
	out, err := a.monitorOutput(&o, len(command) > 0)
	if err != nil {
		return err
	}
	defer func() {
		closeErr := out.close()
		if len(command) == 0 { // else it was reported, and the exit code is the command's
			err = errors.Join(err, closeErr)
		}
	}()
	if o.listen == "" && len(command) == 0 {
		return a.printRecording(ctx, out, args[0])
	}
	a.outlivePrinter(out)
	path, err := a.monitored(args)
	if err != nil {
		return err
	}
	dir, err := storepath.ParseDir(a.monitoredDir())
	if err != nil {
		return &usageError{err}
	}
	m := &monitor.Monitor{Dial: monitor.DialUnix(path), StoreDir: dir, Handle: out.event}
	if o.record != "" {
		if m.Recorder, err = monitor.CreateRecorder(o.record); err != nil {
			return &usageError{fmt.Errorf("--record: %w", err)}
		}
		m.Recorder.Bodies = o.bodies
		m.Recorder.Failed = func(err error) { a.warn("the recording ends here: " + errorText(err)) }
		defer m.Recorder.Close() //nolint:errcheck // Failed has reported it
	}
	l, socket, remove, err := listenForMonitor(o.listen)
	if err != nil {
		return err
	}
	defer remove()
	out.started = true
	defer out.repeatTotals(o.totals)()
	defer func() {
		if n := m.Unobserved(); n > 0 {
			a.warn(fmt.Sprintf("%d connections were not shown, because printing was too slow", n))
		}
	}()
	if len(command) == 0 {
		fmt.Fprintf(a.stderr, "pix: listening on %s for %s\n", socket, path)
		return m.Serve(ctx, l)
	}
	started, err := a.monitorCommand(ctx, m, l, socket, command)
	out.started = started
	if started && out.totals.Summary().Connections == 0 {
		a.note("the command has not connected to the daemon; 'nix --store daemon' connects in any case")
	}
	return err
}

// outlivePrinter keeps pix alive if its output is closed, for example by a pager: the connections must go
// on. Without a handler, Go ends a program that writes to a closed standard output.
func (a *app) outlivePrinter(out *monitorPrinter) {
	out.failed = func(err error) { a.warn("nothing more is printed, but the connections go on: " + errorText(err)) }
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a command gets the default again
}

// monitored returns the path of the socket of the daemon. $PIX_STORE and $NIX_REMOTE are also for the
// command, so they may name a store without a socket: then monitored ignores them.
func (a *app) monitored(args []string) (string, error) {
	name := a.flags.storeURI
	if len(args) > 0 {
		name = args[0]
	}
	for _, variable := range []string{"PIX_STORE", "NIX_REMOTE"} {
		if uri := a.getenv(variable); name == "" && strings.HasPrefix(uri, "unix://") {
			name = uri
		}
	}
	path, err := a.daemonSocket(name)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &unknownError{fmt.Errorf("there is no daemon socket at '%s': 'pix monitor SOCKET -- COMMAND' names another one, and 'pix daemon' starts a daemon", path)}
	} else if err != nil {
		return "", &unknownError{fmt.Errorf("there is no daemon: %w", err)}
	}
	if info.Mode().Type() != os.ModeSocket {
		return "", &usageError{fmt.Errorf("'%s' is not a socket; to print a recording, leave --listen and the command out", path)}
	}
	return filepath.Abs(path)
}

// daemonSocket returns the path of the socket that a path or a URI names.
func (a *app) daemonSocket(name string) (string, error) {
	rest, isUnix := strings.CutPrefix(name, "unix://")
	rest, _, _ = strings.Cut(rest, "?")
	switch {
	case isUnix && rest != "":
		path, err := url.PathUnescape(rest)
		if err != nil {
			return "", &usageError{err}
		}
		return path, nil
	case name == "" || name == "daemon" || isUnix:
		opts, err := a.storeOptions()
		if err != nil {
			return "", err
		}
		return pix.SocketPath("daemon", opts)
	case strings.Contains(name, "://"):
		return "", &usageError{fmt.Errorf("cannot monitor '%s': it is not a socket of this machine", name)}
	}
	return name, nil
}

// monitoredDir returns the store directory of the daemon, which the protocol does not mention.
func (a *app) monitoredDir() string {
	for _, dir := range []string{a.flags.storeDir, a.getenv("NIX_STORE_DIR")} {
		if dir != "" {
			return dir
		}
	}
	return string(storepath.DefaultDir)
}

// listenForMonitor listens on a socket, or on one in a temporary directory. Only root serves other users.
func listenForMonitor(path string) (l net.Listener, socket string, remove func(), err error) {
	remove = func() {}
	if path == "" {
		dir, err := os.MkdirTemp(shortTempDir(), "pix-monitor-")
		if err != nil {
			return nil, "", nil, err
		}
		remove = func() { os.RemoveAll(dir) }
		if os.Geteuid() == 0 {
			if err := os.Chmod(dir, 0o711); err != nil { // the command may run others as another user
				remove()
				return nil, "", nil, err
			}
		}
		path = filepath.Join(dir, "socket")
	}
	listen := server.ListenPrivate
	if os.Geteuid() == 0 {
		listen = server.ListenUnix
	}
	if l, err = listen(path); err != nil {
		remove()
		return nil, "", nil, err
	}
	return l, l.Addr().String(), remove, nil
}

// shortTempDir returns the directory for temporary files. The path of a socket has at most 107 bytes.
func shortTempDir() string {
	if dir := os.TempDir(); len(dir) <= 60 {
		return dir
	}
	return "/tmp"
}

// leaveTime is the time in which connections must end after the command has ended.
const leaveTime = 3 * time.Second

// monitorCommand runs a command whose daemon is the monitor. It reports whether the command was started.
func (a *app) monitorCommand(ctx context.Context, m *monitor.Monitor, l net.Listener, socket string, command []string) (started bool, err error) {
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- m.Serve(serving, l) }()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "NIX_REMOTE=unix://"+(&url.URL{Path: socket}).EscapedPath(), "NIX_DAEMON_SOCKET_PATH="+socket, "PIX_STORE=")
	started, err = a.runCommand(ctx, cmd)
	l.Close()
	select {
	case serveErr := <-served:
		return started, errors.Join(err, serveErr)
	case <-time.After(leaveTime): // a process in the background has a connection
	}
	cancel()
	return started, errors.Join(err, <-served)
}

// printRecording prints the events of a recording.
func (a *app) printRecording(ctx context.Context, out *monitorPrinter, name string) error {
	if info, err := os.Stat(name); err == nil && info.Mode().Type() == os.ModeSocket {
		return &usageError{fmt.Errorf("'%s' is a socket: name a command after --, or a socket for clients with --listen", name)}
	}
	if out.isFile(name) {
		return &usageError{fmt.Errorf("'%s' is the recording: name another file with --output", name)}
	}
	f, err := openReader(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	status, err := monitor.ReadRecording(f, func(e *monitor.Event) error {
		out.started = true
		out.event(e)
		return out.failure()
	})
	if out.failure() != nil {
		return nil // the caller closes out, which returns the error
	} else if err != nil {
		return fmt.Errorf("reading the recording '%s': %w", name, err)
	}
	out.started = true
	if status != monitor.StatusComplete {
		a.warn("the recording is " + status)
	}
	return nil
}
