package daemontest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Options configure a daemon. Nil and the zero values are useful.
type Options struct {
	// Store is the store to serve. Nil means an empty one in memory.
	Store store.Store

	// StoreDir is the store directory of the store in memory. "" means [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Version is the newest version of the daemon. 0 means [protocol.MaxVersion].
	Version protocol.Version

	// NoFeatures makes the daemon offer no features, as Nix up to 2.34 does.
	NoFeatures bool

	// Untrusted makes the daemon trust no client.
	Untrusted bool

	// NixVersion is the version that the daemon reports. "" means [server.NixVersion].
	NixVersion string

	// Faults are the faults of each connection.
	Faults Faults
}

// A Daemon serves connections until the test ends. Its methods may be called by any number of
// goroutines.
type Daemon struct {
	// Store is the store that the daemon serves.
	Store store.Store

	opts Options
	host
}

// New starts a daemon. The daemon and its connections end with the test, which waits for that.
func New(t testing.TB, opts *Options) *Daemon {
	t.Helper()
	d := new(Daemon)
	if opts != nil {
		d.opts = *opts
	}
	if d.Store = d.opts.Store; d.Store == nil {
		d.Store = memstore.New(&memstore.Options{Dir: d.opts.StoreDir})
	}
	d.start(t, d.serveConn)
	return d
}

// Memory returns the store in memory that the daemon serves, or nil if it serves another store.
func (d *Daemon) Memory() *memstore.Store {
	s, _ := store.As[*memstore.Store](d.Store)
	return s
}

// serveConn serves a connection.
func (d *Daemon) serveConn(ctx context.Context, nc net.Conn) error {
	faults := newInjector(&d.opts.Faults)
	return server.Serve(ctx, faults.wrap(nc), d.Store, &server.Options{
		Trusted:    !d.opts.Untrusted,
		Version:    d.opts.Version,
		NoFeatures: d.opts.NoFeatures,
		NixVersion: d.opts.NixVersion,
		Before:     faults.beforeOp,
	})
}

// A host serves connections in memory and on Unix sockets until its test ends.
type host struct {
	t         testing.TB
	serveConn func(context.Context, net.Conn) error // serves and closes a connection
	ctx       context.Context
	cancel    context.CancelFunc
	conns     sync.WaitGroup

	mu     sync.Mutex
	socket string
	closed bool
	errs   []error // errors of connections
}

// start starts the host. It ends with the test.
func (h *host) start(t testing.TB, serveConn func(context.Context, net.Conn) error) {
	h.t, h.serveConn = t, serveConn
	h.ctx, h.cancel = context.WithCancel(context.Background())
	t.Cleanup(h.Close)
}

// ErrClosed means that the daemon has ended.
var ErrClosed = errors.New("the daemon has ended")

// Dial returns the client's end of a new connection in memory, before the handshake. It fails
// only if ctx is done or the daemon has ended.
func (h *host) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, ours := net.Pipe()
	if !h.serve(ours) {
		client.Close()
		ours.Close()
		return nil, ErrClosed
	}
	return client, nil
}

// String returns the name of the daemon for error messages. With it the daemon is a transport
// of package daemon.
func (h *host) String() string { return "a daemon in process" }

// serve serves a connection in the background. It returns false if the daemon has ended.
func (h *host) serve(nc net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.conns.Go(func() {
		err := h.serveConn(h.ctx, nc)
		if err != nil && h.ctx.Err() == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.errs = append(h.errs, err)
		}
	})
	return true
}

// Errors returns the errors of the connections that have ended so far: what the server reports
// about clients, and faults.
func (h *host) Errors() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]error(nil), h.errs...)
}

// Socket returns the path of a Unix socket on which the daemon listens from the first call on.
// If that is not possible, the test fails.
func (h *host) Socket() string {
	h.t.Helper()
	h.mu.Lock()
	socket := h.socket
	h.mu.Unlock()
	if socket != "" {
		return socket
	}
	// t.TempDir may be too long: the path of a socket has at most 107 bytes, often fewer.
	dir, err := os.MkdirTemp("", "pix")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	h.ListenOn(socket)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.socket = socket
	return socket
}

// ListenOn makes the daemon also listen on a Unix socket at a path. If that is not possible,
// the test fails.
func (h *host) ListenOn(path string) {
	h.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.conns.Go(func() {
		server.Accept(h.ctx, l, func(_ context.Context, nc net.Conn) {
			if !h.serve(nc) {
				nc.Close()
			}
		})
	})
}

// Close ends the daemon and all its connections before the end of the test.
func (h *host) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.conns.Wait()
}
