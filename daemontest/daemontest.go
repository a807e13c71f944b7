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

// Options say how a daemon differs from the usual one. Nil and the zero values are useful.
type Options struct {
	// Store is the store to serve; nil is an empty one in memory.
	Store store.Store

	// StoreDir is the store directory of the store in memory; "" is
	// [storepath.DefaultDir].
	StoreDir storepath.Dir

	// Version is the newest version that the daemon speaks; 0 is [protocol.MaxVersion].
	Version protocol.Version

	// NoFeatures makes it offer no features, as Nix up to 2.34 does.
	NoFeatures bool

	// Untrusted makes it trust nobody.
	Untrusted bool

	// NixVersion is what it says that it is; "" is "pix".
	NixVersion string

	// Faults are what goes wrong.
	Faults Faults
}

// A Daemon is a daemon that serves connections until the test ends. Its methods may be
// called by any number of goroutines.
type Daemon struct {
	// Store is what it serves.
	Store store.Store

	t      testing.TB
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	conns  sync.WaitGroup

	mu     sync.Mutex
	socket string
	closed bool
	wrong  []error // how connections ended that did not end well
}

// New starts a daemon. It ends with the test, and all connections with it; the test then
// waits until they have.
func New(t testing.TB, opts *Options) *Daemon {
	t.Helper()
	d := &Daemon{t: t}
	if opts != nil {
		d.opts = *opts
	}
	if d.Store = d.opts.Store; d.Store == nil {
		d.Store = memstore.New(&memstore.Options{Dir: d.opts.StoreDir})
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	t.Cleanup(d.Close)
	return d
}

// Memory returns the store in memory that the daemon serves, or nil if it serves another.
func (d *Daemon) Memory() *memstore.Store {
	s, _ := store.As[*memstore.Store](d.Store)
	return s
}

// ErrClosed says that the daemon has ended.
var ErrClosed = errors.New("the daemon has ended")

// Dial returns the client's end of a new connection in memory, before the handshake. It
// fails only when ctx is done or the daemon has ended.
func (d *Daemon) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, ours := net.Pipe()
	if !d.serve(ours) {
		client.Close()
		ours.Close()
		return nil, ErrClosed
	}
	return client, nil
}

// String names the daemon in errors, so that it is a transport of package daemon.
func (d *Daemon) String() string { return "a daemon in process" }

// serve serves a connection in the background. It returns false when the daemon has ended.
func (d *Daemon) serve(nc net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	faults := newInjector(&d.opts.Faults)
	d.conns.Go(func() {
		err := server.Serve(d.ctx, faults.wrap(nc), d.Store, &server.Options{
			Trusted:    !d.opts.Untrusted,
			Version:    d.opts.Version,
			NoFeatures: d.opts.NoFeatures,
			NixVersion: d.opts.NixVersion,
			Before:     faults.before,
		})
		if err != nil && d.ctx.Err() == nil {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.wrong = append(d.wrong, err)
		}
	})
	return true
}

// Errors returns how those connections ended that did not end well, so far: for what the
// server says of a client's mistakes. Those that faults ended are among them.
func (d *Daemon) Errors() []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]error(nil), d.wrong...)
}

// Socket returns the path of a Unix socket on which the daemon listens from the first call
// on. It fails the test where there can be none.
func (d *Daemon) Socket() string {
	d.t.Helper()
	d.mu.Lock()
	socket := d.socket
	d.mu.Unlock()
	if socket != "" {
		return socket
	}
	// Not t.TempDir: the path of a socket has at most 107 bytes, often fewer.
	dir, err := os.MkdirTemp("", "pix")
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	d.ListenOn(socket)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.socket = socket
	return socket
}

// ListenOn makes the daemon listen on a Unix socket at that path, too. It fails the test if
// that is not possible.
func (d *Daemon) ListenOn(path string) {
	d.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		d.t.Fatal(err)
	}
	d.conns.Go(func() {
		server.Accept(d.ctx, l, func(_ context.Context, nc net.Conn) {
			if !d.serve(nc) {
				nc.Close()
			}
		})
	})
}

// Close ends the daemon and all its connections before the test does.
func (d *Daemon) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.conns.Wait()
}
