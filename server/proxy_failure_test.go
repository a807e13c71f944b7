package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// pool opens a pool in a synctest bubble.
func pool(t *testing.T, d daemon.Transport) *daemon.Pool {
	t.Helper()
	p, err := daemon.Open(t.Context(), d, &daemon.Options{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// lost checks that the client gets an error and its connection is closed.
func (c *client) lost(t *testing.T, err error, why string) {
	t.Helper()
	var said *activity.Error
	if !errors.As(err, &said) || !strings.Contains(said.Message, why) {
		t.Errorf("the error is %v, want %q", err, why)
	}
	for err = nil; err == nil; {
		_, err = c.in.Uint64()
	}
	if err != io.EOF {
		t.Errorf("after the error: %v", err)
	}
}

// If the upstream daemon cannot be reached, the client gets an error after the handshake. The
// next client is served.
func TestProxyUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fickle{Daemon: daemontest.New(t, nil)}
		p := pool(t, f)
		f.broken.Store(true)
		c := connect(t, p, trusted)
		var err error
		if c.params, c.greet, err = protocol.ClientHandshake(c.in, c.nc, p.Dir()); err != nil {
			t.Fatal(err)
		}
		if c.greet.Trust != protocol.TrustUnknown {
			t.Errorf("the client is %s", c.greet.Trust)
		}
		c.lost(t, c.messages(), "connecting to the Nix daemon at 'a daemon in process': no such host")
		if err := c.hangUp(); err == nil {
			t.Error("Serve returned no error")
		}
		f.broken.Store(false)
		must[*protocol.IsValidPathReply](dial(t, p, trusted), &protocol.IsValidPathRequest{Path: absent}, nil)
	})
}

// The server does not connect to the daemon for a client that has sent nothing, or may not
// connect.
func TestProxyConnectsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fickle{Daemon: daemontest.New(t, nil)}
		p := pool(t, f)
		before := f.dials.Load()
		c := connect(t, p, trusted)
		synctest.Wait()
		c.nc.Write([]byte("cxin\x00\x00\x00\x00"))
		synctest.Wait()
		if n := f.dials.Load() - before; n != 0 {
			t.Errorf("%d connections for a client that has sent almost nothing", n)
		}
		c.hangUp()

		l := newPipeListener()
		served := make(chan error)
		go func() { served <- (&server.Server{Store: p, Access: new(server.Access)}).Serve(t.Context(), l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		c = newClient(t, ours)
		var err error
		if c.params, _, err = protocol.ClientHandshake(c.in, c.nc, p.Dir()); err != nil {
			t.Fatal(err)
		}
		c.lost(t, c.messages(), "is not allowed to connect to the Nix daemon")
		if n := f.dials.Load() - before; n != 0 {
			t.Errorf("%d connections for a client that is refused", n)
		}
		l.Close()
		<-served
	})
}

// A daemon that hangs while it is connected for one client does not delay other clients. That
// client waits as long as the pool does. If it hangs up, the attempt ends.
func TestProxyHungHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fickle{Daemon: daemontest.New(t, nil)}
		p := pool(t, f)
		f.hangs.Store(true)
		greet := func() (*client, chan error) {
			c, ended := connect(t, p, trusted), make(chan error, 1)
			go func() {
				var err error
				if c.params, _, err = protocol.ClientHandshake(c.in, c.nc, p.Dir()); err == nil {
					err = c.messages()
				}
				ended <- err
			}()
			synctest.Wait()
			return c, ended
		}
		waiting, ended := greet()
		leaving, _ := greet()
		f.hangs.Store(false)
		start := time.Now()
		for range 20 {
			must[*protocol.IsValidPathReply](dial(t, p, trusted), &protocol.IsValidPathRequest{Path: absent}, nil)
		}
		if err := leaving.hangUp(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if waited := time.Since(start); waited > time.Second {
			t.Errorf("other clients waited %v", waited)
		}
		waiting.lost(t, <-ended, "no answer in time")
		if waited := time.Since(start); waited > 11*time.Second {
			t.Errorf("the client waited %v", waited)
		}
	})
}

// A daemon that hangs in an operation, even one on the whole store, does not delay other
// clients.
func TestProxyHungOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		up := daemontest.New(t, &daemontest.Options{Store: sweeper{memstore.New(nil), hang}})
		p := pool(t, up)
		l := newPipeListener()
		srv := &server.Server{Store: p, Options: trusted}
		served := make(chan error)
		go func() { served <- srv.Serve(t.Context(), l) }()
		var hung []*client
		for range 6 { // together they use less than the share of one user
			c := l.dial(t)
			c.send(&protocol.VerifyStoreRequest{CheckContents: true})
			hung = append(hung, c)
			c = l.dial(t)
			c.send(&protocol.FindRootsRequest{})
			hung = append(hung, c)
		}
		synctest.Wait()
		start := time.Now()
		c := l.dial(t)
		must[*protocol.VerifyStoreReply](c, &protocol.VerifyStoreRequest{}, nil)
		must[*protocol.Ack](c, &protocol.OptimiseStoreRequest{}, nil)
		must[*protocol.PathsReply](c, &protocol.QueryAllValidPathsRequest{}, nil)
		if waited := time.Since(start); waited > 0 {
			t.Errorf("another client waited %v", waited)
		}
		close(hang)
		for _, c := range append(hung, c) {
			c.nc.Close()
		}
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A sweeper is a store that verifies itself until the test lets it finish.
type sweeper struct {
	*memstore.Store
	hang chan struct{}
}

func (s sweeper) Session(context.Context) (store.Store, error) { return unclosedSweeper{s}, nil }
func (s sweeper) VerifyStore(ctx context.Context, checkContents, _ bool) (bool, error) {
	if checkContents {
		s.wait(ctx)
	}
	return false, nil
}

func (s sweeper) FindRoots(ctx context.Context) ([]store.Root, error) {
	s.wait(ctx)
	return nil, nil
}

func (s sweeper) wait(ctx context.Context) {
	select {
	case <-s.hang:
	case <-ctx.Done():
	}
}

type unclosedSweeper struct{ sweeper }

func (unclosedSweeper) Close() error { return nil }

// When the daemon dies, a client that it works for gets an error at once, and its connection is
// closed. In the middle of an upload this takes a second: package daemon waits that long for a
// Read of the upload.
func TestProxyDaemonDies(t *testing.T) {
	for name, begin := range map[string]func(c *client){
		"query": func(c *client) { c.send(&protocol.IsValidPathRequest{Path: absent}) },
		"build": func(c *client) {
			c.send(&protocol.BuildPathsRequest{Paths: []derivation.DerivedPath{derivation.Opaque{Path: absent}}})
		},
		"upload": func(c *client) { // most of it is not sent yet
			c.send(&protocol.AddToStoreRequest{Name: "x", Method: storepath.Flat, Algorithm: nixhash.SHA256})
			c.nc.Write([]byte{8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var up mortal
				defer up.served.Wait()
				p := pool(t, &up)
				defer p.Close()
				c := dial(t, p, trusted)
				begin(c)
				synctest.Wait()
				start := time.Now()
				up.kill()
				c.lost(t, c.messages(), "connection to the Nix daemon lost")
				if waited := time.Since(start); waited > time.Second || waited > 0 && name != "upload" {
					t.Errorf("it took %v to end", waited)
				}
				if err := c.hangUp(); !errors.Is(err, daemon.ErrConnLost) {
					t.Errorf("Serve: %v", err)
				}
			})
		})
	}
}

// When the daemon dies, the connection of an idle client is closed: its temporary roots are
// gone, so the server must not reconnect.
func TestProxyDaemonDiesBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fickle{Daemon: daemontest.New(t, nil)}
		p := pool(t, f)
		c := dial(t, p, trusted)
		must[*protocol.Ack](c, &protocol.AddTempRootRequest{Path: absent}, nil)
		f.Daemon.Close()
		f.Daemon = daemontest.New(t, nil)
		start := time.Now()
		if _, err := c.in.Uint64(); err != io.EOF || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := <-c.served; err == nil || !strings.Contains(err.Error(), "the connection to the other daemon was lost: ") {
			t.Errorf("Serve: %v", err)
		}
		c.served <- nil
		must[*protocol.IsValidPathReply](dial(t, p, trusted), &protocol.IsValidPathRequest{Path: absent}, nil)
	})
}

// If the daemon refuses the proxy before any work, the client gets the error once, and its
// connection is closed.
func TestProxyDaemonRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The daemon does not report that it does not trust the proxy.
		up := daemontest.New(t, &daemontest.Options{Untrusted: true, Version: protocol.MakeVersion(34)})
		c := dial(t, pool(t, up), trusted)
		_, err := c.ask(&protocol.BuildPathsRequest{Mode: store.BuildRepair}, nil)
		c.lost(t, err, "repairing is not allowed because you are not in 'trusted-users'")
	})
}

// When a client hangs up, the daemon stops its work for the client.
func TestProxyHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		s := memstore.New(&memstore.Options{Build: func(ctx context.Context, _ *memstore.Store, _ storepath.Path, _ *derivation.Derivation) error {
			<-ctx.Done()
			close(stopped)
			return ctx.Err()
		}})
		p := pool(t, daemontest.New(t, &daemontest.Options{Store: s}))
		path, err := newFixed(t).Path()
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, p, trusted)
		c.send(&protocol.BuildDerivationRequest{Path: path, Derivation: newFixed(t)})
		synctest.Wait()
		start := time.Now()
		if err := c.hangUp(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		<-stopped
		if waited := time.Since(start); waited > 10*time.Millisecond {
			t.Errorf("it took %v to end", waited)
		}
	})
}

// Temporary roots of a client end with its connection, and not before.
func TestProxyTempRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, text, referrer := newStore(t)
		p := pool(t, daemontest.New(t, &daemontest.Options{Store: s}))
		holder, collector := dial(t, p, trusted), dial(t, p, trusted)
		must[*protocol.Ack](holder, &protocol.AddTempRootRequest{Path: text}, nil)
		collect := &protocol.CollectGarbageRequest{GCOptions: store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1 << 62}}
		if got := must[*protocol.CollectGarbageReply](collector, collect, nil).Paths; len(got) != 1 || got[0] != string(referrer) {
			t.Errorf("collected %v", got)
		}
		holder.hangUp()
		synctest.Wait()
		if got := must[*protocol.CollectGarbageReply](collector, collect, nil).Paths; len(got) != 1 || got[0] != string(text) {
			t.Errorf("collected %v", got)
		}
	})
}

// The limits of the pool do not limit the number of clients. They all end with the pool.
func TestProxyManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, daemontest.New(t, nil))
		var clients []*client
		start := time.Now()
		for range 100 {
			c := dial(t, p, trusted)
			must[*protocol.IsValidPathReply](c, &protocol.IsValidPathRequest{Path: absent}, nil)
			clients = append(clients, c)
		}
		if _, err := store.AddText(t.Context(), p, "own", "of the pool", nil); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited > 0 {
			t.Errorf("the clients waited %v", waited)
		}
		p.Close()
		synctest.Wait()
		for _, c := range clients {
			if _, err := c.in.Uint64(); err != io.EOF {
				t.Errorf("after the pool was closed: %v", err)
			}
		}
		c := connect(t, p, trusted)
		var err error
		if c.params, _, err = protocol.ClientHandshake(c.in, c.nc, p.Dir()); err != nil {
			t.Fatal(err)
		}
		c.lost(t, c.messages(), "connection closed")
	})
}
