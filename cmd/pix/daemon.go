package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pix"
	"pix/nixconf"
	"pix/protocol"
	"pix/server"
	"pix/signature"
	"pix/store"
)

// daemonOptions are the flags of daemon.
type daemonOptions struct {
	socket string
	stdio  bool
	grace  time.Duration // for running operations when the daemon is stopped
	idle   time.Duration // until an idle client is disconnected; 0 is never
	memory int64         // the memory budget in bytes; 0 is the default

	clients, clientsPerUser int // the largest numbers; 0 is the default

	trust      protocol.Trust // of all clients; TrustUnknown leaves it to nix.conf
	processOps bool
}

func newDaemon(a *app) *cobra.Command {
	var o daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve a store to Nix clients",
		Long: `Serve a store to clients that speak the protocol of Nix's daemon: pix and stock Nix. It
listens on a Unix socket, or on the sockets that systemd passes to it, or serves one client on its
standard input and output (--stdio), as ssh-ng:// requires. It accepts the flags of nix-daemon.

Without --socket, the socket is $NIX_DAEMON_SOCKET_PATH, or daemon-socket/socket in the state
directory of the store: DIR/nix/var/nix/daemon-socket/socket for --store DIR.

nix.conf names the users that may connect and the trusted ones, unless --force-trusted or
--force-untrusted decides it for everyone. After the first SIGTERM or interrupt the daemon waits for
running operations to end; the second kills it.`,
		Example: "  pix daemon --socket /run/user/1000/pix/socket\n" +
			"  pix daemon --store /srv/store\n" +
			"  pix daemon --store unix:///nix/var/nix/daemon-socket/socket --stdio",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.stdio && o.socket != "" {
				return wrongUse(cmd, errors.New("--socket and --stdio exclude each other"))
			}
			if o.clients < 0 || o.clientsPerUser < 0 || o.grace < 0 || o.idle < 0 {
				return wrongUse(cmd, errors.New("--max-clients, --max-clients-per-user, --idle-timeout and --grace must not be negative"))
			}
			return a.serve(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.socket, "socket", "", "the `path` of the socket to listen on, also called --socket-path (default $NIX_DAEMON_SOCKET_PATH, then the socket of the store)")
	flags.StringVar(&o.socket, "socket-path", "", "the same as --socket, as in nix daemon")
	flags.MarkHidden("socket-path")
	flags.BoolVar(&o.stdio, "stdio", false, "serve one client on standard input and output")
	flags.BoolFunc("force-trusted", "trust all clients, and let all users connect", o.trustAll(protocol.Trusted))
	flags.BoolFunc("force-untrusted", "trust no client, and let all users connect", o.trustAll(protocol.NotTrusted))
	flags.BoolFunc("default-trust", "trust clients as nix.conf says, or the client of --stdio (default)", o.trustAll(protocol.TrustUnknown))
	flags.BoolVar(&o.processOps, "process-ops", false, "in front of another daemon: make permanent roots as the user of this process")
	flags.Bool("daemon", false, "does nothing, as in nix-daemon")
	flags.MarkHidden("daemon")
	flags.DurationVar(&o.grace, "grace", 30*time.Second, "the `time` that running operations have to end after the daemon is stopped")
	flags.IntVar(&o.clients, "max-clients", 0, "the largest `number` of clients at once (default 4096, or half of the limit of open files if that is less)")
	flags.IntVar(&o.clientsPerUser, "max-clients-per-user", 0, "the largest `number` of clients of one untrusted user (default half of --max-clients)")
	flags.Func("memory", "the `size` of the memory for all requests and replies, with K, M, G or T (default 128M)", sizeFlag(&o.memory))
	flags.DurationVar(&o.idle, "idle-timeout", 0, "disconnect a client that sends no request for this `time` (default never)")
	for _, name := range []string{"grace", "max-clients", "max-clients-per-user", "memory", "idle-timeout"} {
		freeValue(cmd, name)
	}
	return cmd
}

// trustAll returns the setter of a flag without a value, which sets the trust of all clients. The last such flag
// counts, as in nix-daemon.
func (o *daemonOptions) trustAll(trust protocol.Trust) func(string) error {
	return func(value string) error {
		if value != "true" {
			return errors.New("it takes no value")
		}
		o.trust = trust
		return nil
	}
}

// serve opens the store and serves it until the context ends.
func (a *app) serve(ctx context.Context, o daemonOptions) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	serving := servingStdio
	if !o.stdio { // a client of ssh-ng would see the warnings on every connection
		serving = servingSockets
		a.warnOfConfiguration()
		a.warnOfIgnoredSettings(conf)
	}
	choice, err := a.choose(openOptions{access: toCreate, serving: serving})
	if err != nil {
		return err
	}
	s, err := a.openChosen(ctx, choice)
	if err != nil {
		return err
	}
	defer s.Close()
	opts, err := serverOptions(conf, choice, o)
	if err != nil {
		return err
	}
	if o.stdio {
		opts.Trusted = o.trust != protocol.NotTrusted
		return a.serveStdio(ctx, s, opts)
	}
	srv, err := newServer(s, conf, o, opts)
	if err != nil {
		return err
	}
	listeners, err := a.listen(choice, o.socket)
	if err != nil {
		return err
	}
	return a.serveSockets(ctx, srv, listeners, o.grace)
}

// serverOptions returns the options of every connection.
func serverOptions(conf *nixconf.Conf, choice *storeChoice, o daemonOptions) (*server.Options, error) {
	r := conf.Reader()
	if pix.IsLocal(choice.uri) {
		readObeyedSettings(r) // calls of clients need settings that opening the store did not read
	}
	opts := &server.Options{
		IdleTimeout:  o.idle,
		Substituters: slices.Concat(r.Words("substituters"), r.Words("trusted-substituters")),
		LocalRoots:   o.processOps && choice.isMachineDaemon(),
		TrustedKeys: func(set *protocol.SetOptionsRequest) (signature.KeySet, error) {
			return clientKeys(conf, set)
		},
	}
	if err := r.Err(); err != nil {
		return nil, &usageError{err}
	}
	return opts, nil
}

// warnOfIgnoredSettings warns about settings in the configuration that pix does not obey.
func (a *app) warnOfIgnoredSettings(conf *nixconf.Conf) {
	var ignored []string
	for _, s := range nixconf.Settings() {
		if s.By == "" && conf.Get(s.Name).Origin.Source != nixconf.FromDefault {
			ignored = append(ignored, s.Name)
		}
	}
	if len(ignored) > 0 {
		a.warn("pix does not obey these settings; 'pix config' says why: " + strings.Join(ignored, " "))
	}
}

// readObeyedSettings reads all settings that pix obeys, so that r has the error of an invalid one.
func readObeyedSettings(r *nixconf.Reader) {
	for _, s := range nixconf.Settings() {
		if s.By != "" {
			r.Text(s.Name)
		}
	}
}

// isMachineDaemon reports whether the store is another daemon on this machine.
func (c *storeChoice) isMachineDaemon() bool {
	return strings.HasPrefix(c.uri, "daemon") || strings.HasPrefix(c.uri, "unix://")
}

// serveStdio serves the client at the other end of the standard streams. The system does not report the user of
// that client; nix-daemon trusts it by default.
func (a *app) serveStdio(ctx context.Context, s store.Store, opts *server.Options) error {
	in, ok := a.stdin.(*os.File)
	out, isFile := a.stdout.(*os.File)
	if !ok || !isFile {
		return errors.New("--stdio needs streams of a process")
	}
	nc, err := server.Stdio(in, out)
	if err != nil {
		return err
	}
	return server.Serve(ctx, nc, s, opts)
}

// newServer returns a server with the limits of the flags. It admits the users that nix.conf names, unless a flag
// sets the trust of all clients.
func newServer(s store.Store, conf *nixconf.Conf, o daemonOptions, opts *server.Options) (*server.Server, error) {
	r := conf.Reader()
	access := &server.Access{Trusted: r.Words("trusted-users"), Allowed: r.Words("allowed-users"), Refused: r.Text("build-users-group")}
	if err := r.Err(); err != nil {
		return nil, &usageError{err}
	}
	srv := &server.Server{
		Store:      s,
		Access:     access,
		Options:    opts,
		MaxClients: o.clients, MaxClientsPerUser: o.clientsPerUser,
		MemoryBudget: o.memory,
	}
	if o.trust != protocol.TrustUnknown {
		srv.Access, opts.Trusted = nil, o.trust == protocol.Trusted
	}
	return srv, nil
}

// serveSockets serves clients of the listeners until a listener fails or the context ends. Then running operations
// have the grace period to end.
func (a *app) serveSockets(ctx context.Context, srv *server.Server, listeners []net.Listener, grace time.Duration) (err error) {
	serving := a.follow(context.WithoutCancel(ctx))
	failed := make(chan error, len(listeners))
	var accepting sync.WaitGroup
	for _, l := range listeners {
		fmt.Fprintf(a.stderr, "pix: listening on %s\n", l.Addr())
		accepting.Go(func() { failed <- srv.Serve(serving, l) })
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	fmt.Fprintln(a.stderr, "pix: shutting down")
	graceful, cancel := context.WithTimeout(serving, grace)
	defer cancel()
	if shutdownErr := srv.Shutdown(graceful); shutdownErr != nil {
		fmt.Fprintf(a.stderr, "pix: operations that did not end within %v were interrupted\n", grace)
	}
	accepting.Wait()
	return err
}

// listen returns the listeners that systemd passed to this process, or one on the socket: the given one, or the
// default of the store.
func (a *app) listen(choice *storeChoice, socket string) ([]net.Listener, error) {
	if socket == "" {
		inherited, err := server.Inherited(a.getenv)
		if err != nil || len(inherited) > 0 {
			return inherited, err
		}
		if socket, err = pix.SocketPath(choice.uri, choice.options); err != nil {
			return nil, err
		}
	}
	l, err := server.ListenUnix(socket)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; name another place with --socket", err)
	}
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}
