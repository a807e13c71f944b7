package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pix/cacheserver"
	"pix/localstore"
	"pix/store"
)

// serveOptions are the flags of serve.
type serveOptions struct {
	listen         []string
	tls            tlsFiles
	url            string
	keyFiles       []string
	tokenFiles     []string // tokens for reading
	priority       int
	compress       bool
	compressedDir  string
	compressedSize int64 // bytes; 0 is the default
	encoders       int   // 0 is the default
	archives       int   // 0 is the default
	connections    int   // 0 is the default
	metrics        string
	logRequests    bool
	grace          time.Duration // for running requests when the server is stopped
	uploads        uploadOptions
	upstream       upstreamOptions
}

func newServe(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [STORE...]",
		Short: "Serve stores as a binary cache over HTTP",
		Long: `Serve the paths of a store as a binary cache, from which pix and every version of Nix can copy.
STORE is the URI of a store; without it, the store of the other verbs is served. Of several stores,
the first one that has a path serves it.

Signatures in the store are served as they are. --key-file adds a signature to paths that the store
built itself, that are content-addressed, or that have a signature by a key in trusted-public-keys.
Other paths stay unsigned, so that serving a path does not make it trusted.

--compress compresses small files and archives in transit. With --compressed-dir, larger archives
are compressed once, and kept in that directory; Nix before 2.4 cannot read these.

With --accept-uploads, --upload-token-file or --trusted-token-file, 'nix copy --to URL' adds paths
to the first store. An uploaded path needs a signature by a key in trusted-public-keys, unless it
is content-addressed or the client is trusted. A client sends its token as a password, for example
from a netrc file. Below URL/upload, only the first store is served, so a copy to it does not skip
paths of the other stores. With these flags, and with --upstream, the first store is created if it
does not exist.

With --upstream-add, a path that a client fetches from an upstream cache is then added to the first
store, with the references that the store lacks. The settings min-free and max-free bound the store.

Without --listen, the server listens on the sockets that systemd passes to it, or on
localhost:5000. With --read-token-file, clients need a token: as the password in a netrc file or a
URL, or as a Bearer token. After the first SIGTERM or interrupt the server waits for running
requests to end.`,
		Example: "  pix serve --store /srv/store --listen :8080\n" +
			"  pix serve --listen /run/pix/cache.sock --key-file secret-key\n" +
			"  pix serve --store /srv/store --upload-token-file tokens\n" +
			"  pix serve --store /srv/store --upstream https://cache.nixos.org\n" +
			"  pix serve --listen :443 --tls-certificate cert.pem --tls-key key.pem",
		GroupID:           groupKeeping,
		ValidArgsFunction: completeURIs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return wrongUse(cmd, err)
			}
			return a.serveCache(cmd.Context(), args, &o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *serveOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&o.listen, "listen", nil, "an `address` to listen on: HOST:PORT, :PORT, or the path of a Unix socket")
	o.tls.addFlags(cmd)
	flags.StringVar(&o.url, "url", "", "the `URL` of the cache, for the start page (default the address of the request)")
	flags.StringArrayVar(&o.keyFiles, "key-file", nil, "a `file` with a secret key that signs the paths")
	flags.StringArrayVar(&o.tokenFiles, "read-token-file", nil, "a `file` with tokens, one per line; a client needs one of them")
	flags.IntVar(&o.priority, "priority", cacheserver.DefaultPriority, "the priority among the caches of a client, which asks lower `numbers` first")
	flags.BoolVar(&o.compress, "compress", false, "compress small files and archives in transit, with zstd")
	flags.StringVar(&o.compressedDir, "compressed-dir", "", "the `directory` for large compressed archives, which implies --compress")
	flags.Func("compressed-size", "the largest `size` of the files in --compressed-dir, with K, M, G or T (default 10G)", sizeFlag(&o.compressedSize))
	flags.IntVar(&o.encoders, "max-encoders", 0, "the largest `number` of archives that are compressed at once: from all stores together, and from each upstream cache (default half of the processors, at most 4)")
	flags.IntVar(&o.archives, "max-archives", 0, "the largest `number` of archives that are sent at once: from all stores together, and from each upstream cache (default 24)")
	flags.IntVar(&o.connections, "max-connections", 0, "the largest `number` of connections; a new one replaces an idle one (default 4096, or less if the process may have few open files)")
	flags.StringVar(&o.metrics, "metrics", "", "an `address` on which to serve metrics for Prometheus, at /metrics")
	flags.BoolVar(&o.logRequests, "log-requests", false, "print a line for each request")
	flags.DurationVar(&o.grace, "grace", 30*time.Second, "the `time` that running requests have to end after the server is stopped")
	o.uploads.addFlags(cmd)
	o.upstream.addFlags(cmd)
	for _, name := range []string{"listen", "url", "priority", "compressed-size", "max-encoders", "max-archives", "max-connections", "metrics", "grace"} {
		freeValue(cmd, name)
	}
	completeFlag(cmd, "read-token-file", completeFiles)
	completeFlag(cmd, "compressed-dir", completeDirs)
	otherNames(cmd, map[string]string{"secret-key-file": "key-file"})
}

// check returns an error if the flags do not fit together.
func (o *serveOptions) check() error {
	switch {
	case o.grace < 0 || o.encoders < 0 || o.archives < 0 || o.connections < 0:
		return errors.New("--grace, --max-encoders, --max-archives and --max-connections must not be negative")
	case o.compressedSize != 0 && o.compressedDir == "":
		return errors.New("--compressed-size needs --compressed-dir")
	}
	return cmp.Or(o.tls.check(), o.uploads.check(), o.upstream.check())
}

// serveCache opens the stores and serves them until the context ends.
func (a *app) serveCache(ctx context.Context, uris []string, o *serveOptions) error {
	boundGarbage()
	opts, err := a.cacheServerOptions(ctx, o)
	if err != nil {
		return err
	}
	observer := newServeObserver(a, o.logRequests)
	opts.Observer = observer
	tlsConfig, err := o.tls.config(ctx)
	if err != nil {
		return err
	}
	stores, closeStores, err := a.openServed(ctx, uris, o)
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
	srv := newHTTPServer(handler)
	srv.TLSConfig = tlsConfig
	connections := newHTTPConnections(cmp.Or(o.connections, connectionsFor(maxFiles())))
	connections.attach(srv)
	for i, l := range listeners {
		listeners[i] = connections.limit(l)
	}
	servers := []httpServing{{srv, listeners}}
	if o.metrics != "" {
		l, err := listenOn(o.metrics)
		if err != nil {
			closeListeners(listeners)
			return err
		}
		metrics := newHTTPServer(observer)
		metrics.ReadTimeout = metrics.ReadHeaderTimeout // otherwise a client could announce a body, and never send it
		servers = append(servers, httpServing{metrics, []net.Listener{l}})
	}
	return a.serveHTTP(ctx, servers, o.grace)
}

// cacheServerOptions returns the options of the handler.
func (a *app) cacheServerOptions(ctx context.Context, o *serveOptions) (*cacheserver.Options, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	trusted, _ := trustedKeys(conf) // opening a store warns about invalid keys
	opts := &cacheserver.Options{
		Priority: o.priority, TrustedKeys: trusted, URL: o.url,
		Compress: o.compress || o.compressedDir != "", CompressedDir: o.compressedDir, CompressedSize: o.compressedSize,
		MaxEncoders: o.encoders, MaxArchives: o.archives, AddFetched: o.upstream.add,
	}
	for _, file := range o.keyFiles {
		key, err := a.readSecretKey(ctx, file)
		if err != nil {
			return nil, err
		}
		opts.Keys = append(opts.Keys, key)
	}
	for _, file := range o.tokenFiles {
		tokens, err := a.readTokens(ctx, file)
		if err != nil {
			return nil, err
		}
		opts.ReadTokens = append(opts.ReadTokens, tokens...)
	}
	opts.Uploads, err = a.uploads(ctx, &o.uploads)
	return opts, err
}

// readTokens reads the tokens in a file. Errors never have any of its contents.
func (a *app) readTokens(ctx context.Context, file string) ([]string, error) {
	text, err := a.readSmall(ctx, file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	tokens := strings.Fields(string(text))
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%s: there is no token", inputName(file))
	}
	for _, token := range tokens {
		if err := cacheserver.CheckToken(token); err != nil {
			return nil, fmt.Errorf("%s: %w", inputName(file), err)
		}
	}
	return tokens, nil
}

// openServed opens the stores with these URIs, or the store of the other verbs, and the upstream caches. The first store gets the
// uploads, and with --upstream-add what clients fetch.
func (a *app) openServed(ctx context.Context, uris []string, o *serveOptions) (stores []store.Store, closeAll func(), err error) {
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
		if (o.uploads.isSet() || o.upstream.add) && i == 0 {
			access = toCreate
		}
		s, err := a.openWith(ctx, openOptions{uri: uri, access: access})
		if i == 0 && len(o.upstream.uris) > 0 && errors.As(err, new(*localstore.NoStoreError)) {
			s, err = a.openWith(ctx, openOptions{uri: uri, access: toCreate}) // a server may have only an upstream cache
		}
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		stores = append(stores, s)
	}
	if err := o.upstream.checkTarget(stores[0]); err != nil {
		closeAll()
		return nil, nil, err
	}
	for i := range o.upstream.uris {
		s, err := a.openUpstream(ctx, &o.upstream, i)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		stores = append(stores, s)
	}
	return stores, closeAll, nil
}
