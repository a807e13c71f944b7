package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
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

func newDaemon(a *app) *cobra.Command {
	var d daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve a store to Nix clients",
		Long: `Serve a store to clients that speak the protocol of Nix's daemon: pix and stock Nix. It
listens on a Unix socket, or on those that systemd passes to it, or serves one client on its
standard input and output (--stdio), as ssh-ng:// wants it. It takes the flags of nix-daemon.

Without --socket, the socket is $NIX_DAEMON_SOCKET_PATH, or daemon-socket/socket in the state
directory of the store: DIR/nix/var/nix/daemon-socket/socket for --store DIR.

nix.conf names the users that may connect and those that are trusted, unless --force-trusted or
--force-untrusted decides it for everyone. The first SIGTERM or interrupt lets running operations
end; the second kills.`,
		Example: "  pix daemon --socket /run/user/1000/pix/socket\n" +
			"  pix daemon --store /srv/store\n" +
			"  pix daemon --store unix:///nix/var/nix/daemon-socket/socket --stdio",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.stdio && d.socket != "" {
				return wrongUse(cmd, errors.New("--socket and --stdio exclude each other"))
			}
			if d.clients < 0 || d.clientsPerUser < 0 || d.grace < 0 || d.idle < 0 {
				return wrongUse(cmd, errors.New("--max-clients, --max-clients-per-user, --idle-timeout and --grace must not be negative"))
			}
			return a.serve(cmd.Context(), d)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.socket, "socket", "", "the `path` of the socket to listen on, also called --socket-path (default $NIX_DAEMON_SOCKET_PATH, then the socket of the store)")
	flags.StringVar(&d.socket, "socket-path", "", "the name that --socket has in nix daemon")
	flags.MarkHidden("socket-path")
	flags.BoolVar(&d.stdio, "stdio", false, "serve one client on standard input and output")
	flags.BoolFunc("force-trusted", "trust every client, and let everyone connect", d.trustAll(protocol.Trusted))
	flags.BoolFunc("force-untrusted", "trust no client, and let everyone connect", d.trustAll(protocol.NotTrusted))
	flags.BoolFunc("default-trust", "trust clients as nix.conf says, or the client of --stdio (default)", d.trustAll(protocol.TrustUnknown))
	flags.BoolVar(&d.processOps, "process-ops", false, "in front of another daemon: make permanent roots as the user of this process")
	flags.Bool("daemon", false, "does nothing, as in nix-daemon")
	flags.MarkHidden("daemon")
	flags.DurationVar(&d.grace, "grace", 30*time.Second, "the `time` that running operations have to end when the daemon is stopped")
	flags.IntVar(&d.clients, "max-clients", 0, "the largest `number` of clients at once (default 4096, or half of the limit of open files if that is less)")
	flags.IntVar(&d.clientsPerUser, "max-clients-per-user", 0, "the largest `number` of clients of one untrusted user (default half of --max-clients)")
	flags.Func("memory", "the `size` of the memory that requests, replies and the work on them may take, with K, M, G or T (default 128M)", d.setMemory)
	flags.DurationVar(&d.idle, "idle-timeout", 0, "the `time` after which a client is disconnected that sends no request (default never)")
	for _, name := range []string{"grace", "max-clients", "max-clients-per-user", "memory", "idle-timeout"} {
		freeValue(cmd, name)
	}
	return cmd
}

// daemonOptions are the flags of daemon.
type daemonOptions struct {
	socket string
	stdio  bool
	grace  time.Duration
	idle   time.Duration // 0 is no timeout
	memory int64         // bytes; 0 is the default

	clients, clientsPerUser int // 0 is the default

	trust      protocol.Trust // of all clients; unknown leaves it to nix.conf
	processOps bool
}

// trustAll returns the setter of a flag without a value. Of several flags the last one counts, as in
// nix-daemon.
func (d *daemonOptions) trustAll(trust protocol.Trust) func(string) error {
	return func(value string) error {
		if value != "true" {
			return errors.New("it takes no value")
		}
		d.trust = trust
		return nil
	}
}

// minMemory is the smallest memory budget in bytes with which any upload is possible.
const minMemory = 16 << 20

func (d *daemonOptions) setMemory(value string) error {
	n, err := nixconf.ParseSize(value)
	switch {
	case err != nil:
		return err
	case n < minMemory || n > math.MaxInt64/4:
		return errors.New("it must be at least 16M")
	}
	d.memory = int64(n)
	return nil
}

// serve serves the store as the options say, until the context ends.
func (a *app) serve(ctx context.Context, d daemonOptions) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	if !d.stdio { // a client of ssh-ng would see the warnings on every connection
		a.warnOfConfiguration()
		a.warnOfIdleSettings(conf)
	}
	a.serves, a.isDaemon = true, !d.stdio
	s, err := a.open(ctx, toCreate)
	if err != nil {
		return err
	}
	defer s.Close()
	r := conf.Reader()
	if pix.IsLocal(a.resolved) {
		checkObeyed(r) // calls of clients need settings that opening the store did not
	}
	opts := &server.Options{
		IdleTimeout:  d.idle,
		Substituters: slices.Concat(r.Words("substituters"), r.Words("trusted-substituters")),
		LocalRoots:   d.processOps && a.isMachineDaemon(),
		TrustedKeys: func(set *protocol.SetOptionsRequest) (signature.KeySet, error) {
			return clientKeys(conf, set)
		},
	}
	if err := r.Err(); err != nil {
		return &usageError{err}
	}
	if d.stdio {
		opts.Trusted = d.trust != protocol.NotTrusted
		return a.serveStdio(ctx, s, opts)
	}
	return a.serveSockets(ctx, s, conf, d, opts)
}

// warnOfIdleSettings warns of settings that the configuration has and pix does not obey.
func (a *app) warnOfIdleSettings(conf *nixconf.Conf) {
	var idle []string
	for _, s := range nixconf.Settings() {
		if s.By == "" && conf.Get(s.Name).Origin.Source != nixconf.FromDefault {
			idle = append(idle, s.Name)
		}
	}
	if len(idle) > 0 {
		a.warn("pix does not obey these settings; 'pix config' says why: " + strings.Join(idle, " "))
	}
}

// checkObeyed reads all settings that pix obeys.
func checkObeyed(r *nixconf.Reader) {
	for _, s := range nixconf.Settings() {
		if s.By != "" {
			r.Text(s.Name)
		}
	}
}

// isMachineDaemon reports whether the store is another daemon on this machine.
func (a *app) isMachineDaemon() bool {
	return strings.HasPrefix(a.resolved, "daemon") || strings.HasPrefix(a.resolved, "unix://")
}

// serveStdio serves the client at the other end of the standard streams. The system does not tell which
// user the client is, and nix-daemon trusts it by default.
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

// serveSockets serves everybody who connects.
func (a *app) serveSockets(ctx context.Context, s store.Store, conf *nixconf.Conf, d daemonOptions, opts *server.Options) error {
	listeners, err := a.listen(d)
	if err != nil {
		return err
	}
	r := conf.Reader()
	access := &server.Access{Trusted: r.Words("trusted-users"), Allowed: r.Words("allowed-users"), Refused: r.Text("build-users-group")}
	if err := r.Err(); err != nil {
		return &usageError{err}
	}
	srv := &server.Server{
		Store:      s,
		Access:     access,
		Options:    opts,
		MaxClients: d.clients, MaxClientsPerUser: d.clientsPerUser,
		MemoryBudget: d.memory,
	}
	if d.trust != protocol.TrustUnknown {
		srv.Access, opts.Trusted = nil, d.trust == protocol.Trusted
	}
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
	patient, cancel := context.WithTimeout(serving, d.grace)
	defer cancel()
	if late := srv.Shutdown(patient); late != nil {
		fmt.Fprintf(a.stderr, "pix: what was not done after %v was cut off\n", d.grace)
	}
	accepting.Wait()
	return err
}

// listen returns the listeners that this process was given, or one of its own.
func (a *app) listen(d daemonOptions) ([]net.Listener, error) {
	socket := d.socket
	if socket == "" {
		inherited, err := server.Inherited(a.getenv)
		if err != nil || len(inherited) > 0 {
			return inherited, err
		}
		opts, err := a.options()
		if err != nil {
			return nil, err
		}
		if socket, err = pix.SocketPath(a.resolved, opts); err != nil {
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
