package daemontest

import (
	"context"
	"net"
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

	// NixVersion is the version that it reports; "" is [server.NixVersion].
	NixVersion string

	// Faults are what goes wrong.
	Faults Faults
}

// A Daemon is a daemon that serves connections until the test ends. Its methods may be
// called by any number of goroutines.
type Daemon struct {
	// Store is what it serves.
	Store store.Store

	opts Options
	host
}

// New starts a daemon. It ends with the test, and all connections with it; the test then
// waits until they have.
func New(t testing.TB, opts *Options) *Daemon {
	t.Helper()
	d := new(Daemon)
	if opts != nil {
		d.opts = *opts
	}
	if d.Store = d.opts.Store; d.Store == nil {
		d.Store = memstore.New(&memstore.Options{Dir: d.opts.StoreDir})
	}
	d.begin(t, d.serveConn)
	return d
}

// Memory returns the store in memory that the daemon serves, or nil if it serves another.
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
		Before:     faults.before,
	})
}
