package main

import (
	"context"
	"errors"
	"fmt"

	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pix/cacheserver"
	"pix/server"
	"pix/store"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	listen   []string
	keyFiles []string
	priority int
	grace    time.Duration // for running requests when the server is stopped
	uploads  uploadOptions
}

func newServe(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [STORE...]",
		Short: "Serve stores as a binary cache over HTTP",
		Long: `Serve the paths of a store as a binary cache, from which pix and every version of Nix can copy.
STORE is the URI of a store; without it, the store of the other verbs is served. Of several stores,
the first one that has a path is asked for it.

Signatures in the store are served as they are. --key-file adds a signature to paths that the store
built itself, that are content-addressed, or that have a signature by a key in trusted-public-keys.
Other paths stay unsigned, so that serving a path does not make it trusted.

With --accept-uploads, --upload-token-file or --trusted-token-file, 'nix copy --to URL' adds paths
to the first store, which is created if it does not exist. An uploaded path needs a signature by a
key in trusted-public-keys, unless it is content-addressed or the client is trusted. A client sends
its token as a password, for example from a netrc file. Below URL/upload, it sees only the first
store.

Without --listen, the server listens on the sockets that systemd passes to it, or on
localhost:5000. After the first SIGTERM or interrupt it waits for running requests to end.`,
		Example: "  pix serve --store /srv/store --listen :8080\n" +
			"  pix serve --store /srv/store --upload-token-file tokens\n" +
			"  pix serve --listen /run/pix/cache.sock --key-file secret-key",
		GroupID:           groupKeeping,
		ValidArgsFunction: completeURIs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.grace < 0 {
				return wrongUse(cmd, errors.New("--grace must not be negative"))
			}
			if err := o.uploads.check(); err != nil {
				return wrongUse(cmd, err)
			}
			return a.serveCache(cmd.Context(), args, &o)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.listen, "listen", nil, "an `address` to listen on: HOST:PORT, :PORT, or the path of a Unix socket")
	flags.StringArrayVar(&o.keyFiles, "key-file", nil, "a `file` with a secret key that signs the paths")
	flags.IntVar(&o.priority, "priority", cacheserver.DefaultPriority, "the priority among the caches of a client, which asks lower `numbers` first")
	flags.DurationVar(&o.grace, "grace", 30*time.Second, "the `time` that running requests have to end after the server is stopped")
	o.uploads.addFlags(cmd, flags)
	for _, name := range []string{"listen", "priority", "grace"} {
		freeValue(cmd, name)
	}
	return cmd
}

// serveCache opens the stores and serves them until the context ends.
func (a *app) serveCache(ctx context.Context, uris []string, o *serveOptions) error {
	opts, err := a.cacheServerOptions(ctx, o)
	if err != nil {
		return err
	}
	stores, closeStores, err := a.openServed(ctx, uris, opts.Uploads != nil)
	if err != nil {
		return err
	}
	defer closeStores()
	handler, err := cacheserver.New(stores, opts)
	if err != nil {
		return err
	}
	defer handler.Close()
	listeners, err := a.listenHTTP(o.listen)
	if err != nil {
		return err
	}
	return a.serveHTTP(ctx, newHTTPServer(handler), listeners, o.grace)
}

// cacheServerOptions returns the options of the handler.
func (a *app) cacheServerOptions(ctx context.Context, o *serveOptions) (*cacheserver.Options, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	trusted, _ := trustedKeys(conf) // opening a store warns about invalid keys
	opts := &cacheserver.Options{Priority: o.priority, TrustedKeys: trusted}
	for _, file := range o.keyFiles {
		key, err := a.readSecretKey(ctx, file)
		if err != nil {
			return nil, err
		}
		opts.Keys = append(opts.Keys, key)
	}
	opts.Uploads, err = a.uploads(ctx, &o.uploads)
	return opts, err
}

// openServed opens the stores with these URIs, or the store of the other verbs. The first one gets the uploads.
func (a *app) openServed(ctx context.Context, uris []string, uploads bool) (stores []store.Store, closeAll func(), err error) {
	closeAll = func() {
		for _, s := range stores {
			s.Close()
		}
	}
	if len(uris) == 0 {
		uris = []string{""}
	}
	for i, uri := range uris {
		access := toRead
		if uploads && i == 0 {
			access = toCreate
		}
		s, err := a.openWith(ctx, openOptions{uri: uri, access: access})
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		stores = append(stores, s)
	}
	return stores, closeAll, nil
}

// defaultListen is the address on which nix-serve and its successors listen, but only on this machine.
const defaultListen = "localhost:5000"

// listenHTTP returns the listeners on the addresses, or the listeners that systemd passed to this process.
func (a *app) listenHTTP(addresses []string) (listeners []net.Listener, err error) {
	if len(addresses) == 0 {
		inherited, err := server.Inherited(a.getenv)
		if err != nil || len(inherited) > 0 {
			return inherited, err
		}
		addresses = []string{defaultListen}
	}
	for _, address := range addresses {
		l, err := listenOn(address)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, err
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listenOn(address string) (net.Listener, error) {
	if path := strings.TrimPrefix(address, "unix:"); path != address || strings.Contains(path, "/") {
		return server.ListenUnix(path)
	}
	return net.Listen("tcp", address)
}

// newHTTPServer returns a server with limits for clients that are slow or hostile before a handler is called.
func newHTTPServer(handler http.Handler) *http.Server {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv
}

// serveHTTP serves clients of the listeners until a listener fails or the context ends. Then running requests have the
// grace period to end.
func (a *app) serveHTTP(ctx context.Context, srv *http.Server, listeners []net.Listener, grace time.Duration) (err error) {
	failed := make(chan error, len(listeners))
	var accepting sync.WaitGroup
	for _, l := range listeners {
		fmt.Fprintf(a.stderr, "pix: listening on %s\n", l.Addr())
		accepting.Go(func() { failed <- srv.Serve(l) })
	}
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	fmt.Fprintln(a.stderr, "pix: shutting down")
	graceful, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if srv.Shutdown(graceful) != nil {
		fmt.Fprintf(a.stderr, "pix: requests that did not end within %v were interrupted\n", grace)
		srv.Close()
	}
	accepting.Wait()
	return err
}
