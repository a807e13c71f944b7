package main

import (
	"cmp"
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

	"pix/daemon"
	"pix/nixconf"
	"pix/server"
	"pix/store"
)

func newDaemon(a *app) *cobra.Command {
	var d daemonOptions
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Serve a store to Nix clients",
		Long: `Serve a store to clients that speak the protocol of Nix's daemon: pix and stock Nix. It
listens on a Unix socket, or on those that systemd hands over, or serves one client on its
standard input and output (--stdio), as ssh-ng:// wants it.

Whom it trusts, and what else it can be told, is in nix.conf. The first SIGTERM or
interrupt lets what is under way end; the second kills.`,
		Example: "  pix daemon --socket /run/user/1000/pix/socket\n" +
			"  pix daemon --store unix:///nix/var/nix/daemon-socket/socket --stdio",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.stdio && d.socket != "" {
				return wrongUse(cmd, errors.New("--socket and --stdio exclude each other"))
			}
			if d.clients < 0 || d.grace < 0 {
				return wrongUse(cmd, errors.New("--max-clients and --grace cannot be less than nothing"))
			}
			return a.serve(cmd.Context(), d)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.socket, "socket", "", "the `path` of the socket to listen on (default $NIX_DAEMON_SOCKET_PATH, then "+daemon.DefaultSocket+")")
	flags.BoolVar(&d.stdio, "stdio", false, "serve one client on standard input and output")
	flags.DurationVar(&d.grace, "grace", 30*time.Second, "the `time` that what is under way gets when the daemon is stopped")
	flags.IntVar(&d.clients, "max-clients", 0, "the `number` of clients that there may be at once (default 4096)")
	freeValue(cmd, "grace")
	freeValue(cmd, "max-clients")
	return cmd
}

// daemonOptions are the flags of daemon.
type daemonOptions struct {
	socket  string
	stdio   bool
	grace   time.Duration
	clients int
}

// serve serves the store as the options say, until the context ends.
func (a *app) serve(ctx context.Context, d daemonOptions) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	if len(conf.Unknown) > 0 {
		fmt.Fprintf(a.stderr, "pix: warning: settings of nix.conf that pix does not have, and ignores: %s\n", strings.Join(conf.Unknown, " "))
	}
	a.serves, a.isDaemon = true, !d.stdio
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if d.stdio {
		return a.serveStdio(ctx, s)
	}
	return a.serveSockets(ctx, s, conf, d)
}

// serveStdio serves whoever is at the other end of the standard streams. Who may be there is
// not for us to say, so all is allowed: so it is with nix-daemon.
func (a *app) serveStdio(ctx context.Context, s store.Store) error {
	in, ok := a.stdin.(*os.File)
	out, isFile := a.stdout.(*os.File)
	if !ok || !isFile {
		return errors.New("--stdio needs streams of a process")
	}
	nc, err := server.Stdio(in, out)
	if err != nil {
		return err
	}
	return server.Serve(ctx, nc, s, &server.Options{Trusted: true})
}

// serveSockets serves everybody who connects.
func (a *app) serveSockets(ctx context.Context, s store.Store, conf *nixconf.Conf, d daemonOptions) error {
	listeners, err := a.listen(d.socket)
	if err != nil {
		return err
	}
	srv := &server.Server{
		Store:      s,
		Access:     &server.Access{Trusted: conf.TrustedUsers, Allowed: conf.AllowedUsers, Refused: conf.BuildUsersGroup},
		Options:    &server.Options{Substituters: slices.Concat(conf.Substituters, conf.TrustedSubstituters)},
		MaxClients: d.clients,
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
func (a *app) listen(socket string) ([]net.Listener, error) {
	if socket == "" {
		inherited, err := server.Inherited(a.getenv)
		if err != nil || len(inherited) > 0 {
			return inherited, err
		}
	}
	opts, err := a.options()
	if err != nil {
		return nil, err
	}
	l, err := server.ListenUnix(cmp.Or(socket, opts.DaemonSocket))
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; name another place with --socket", err)
	}
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}
