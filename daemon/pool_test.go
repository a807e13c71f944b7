package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// Sequential calls need only one connection.
func TestPoolSequential(t *testing.T) {
	m := new(memory)
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		for range 3 {
			oneByOne(t, ctx, p)
		}
		if n := m.dials.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
		info, err := p.Info(ctx)
		if err != nil || info.NixVersion != "test" || info.Version != newest || info.Addr != "memory" || info.Trust != protocol.Trusted {
			t.Errorf("%+v, %v", info, err)
		}
	})
}

// The pool opens at most MaxConns connections, and queries do not wait for builds.
func TestPoolIsBounded(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() == protocol.BuildPaths {
				time.Sleep(time.Minute)
			}
			p.answer(req.Op(), fakeReply(req))
		}
	}}
	pooled(t, m, &daemon.Options{MaxConns: 2}, func(ctx context.Context, p *daemon.Pool) {
		start := time.Now()
		var builds sync.WaitGroup
		for range 6 {
			builds.Go(func() {
				if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if _, err := p.IsValidPath(ctx, helloPath); err != nil || time.Since(start) > 0 {
			t.Errorf("a query waited: %v", err)
		}
		impatient, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := p.BuildPaths(impatient, fakeBuilt, store.BuildNormal); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		caused, stop := context.WithCancelCause(ctx)
		stop(errBoo)
		if err := p.BuildPaths(caused, fakeBuilt, store.BuildNormal); !errors.Is(err, context.Canceled) || !errors.Is(err, errBoo) {
			t.Errorf("%v, want Canceled and its cause", err)
		}
		builds.Wait()
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("six builds of a minute, two at a time, took %v", took)
		}
		if n := m.dials.Load(); n != 3 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// Calls within loops, open archives, sessions, handlers and bodies do not deadlock, even in a
// pool of one connection.
func TestPoolOfOneNested(t *testing.T) {
	pooled(t, new(memory), &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		for info, err := range p.QueryPathInfos(ctx, []storepath.Path{helloPath, helloPath}) {
			if err != nil {
				t.Fatal(info, err)
			}
			oneByOne(t, ctx, p)
		}
		outer, err := p.NARFromPath(ctx, helloPath)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := p.NARFromPath(ctx, helloPath)
		if err != nil {
			t.Fatal(err)
		}
		oneByOne(t, ctx, p)
		for _, r := range []io.ReadCloser{outer, inner} {
			if nar, err := io.ReadAll(r); err != nil || !slices.Equal(nar, fakeNAR) {
				t.Errorf("%d bytes, %v", len(nar), err)
			}
			r.Close()
		}
		session, err := p.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		oneByOne(t, ctx, p)
		session.Close()
		_, err = p.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, readerFunc(func([]byte) (int, error) {
			oneByOne(t, ctx, p)
			return 0, io.EOF
		}), nil)
		if err != nil {
			t.Error(err)
		}
		oneByOne(t, ctx, p)
	})
}

// A call that only reads is repeated when its connection is lost. A call that writes is not.
func TestPoolRetries(t *testing.T) {
	m := &memory{serve: func(p *peer, n int) {
		if n%2 == 1 { // it hangs up when it gets a request
			p.next()
			return
		}
		p.serveAll()
	}}
	fresh := func(f func(ctx context.Context, p *daemon.Pool)) {
		m.dials.Store(0)
		pooled(t, m, nil, f)
	}
	fresh(func(ctx context.Context, p *daemon.Pool) {
		if valid, err := p.IsValidPath(ctx, helloPath); !valid || err != nil {
			t.Errorf("%v, %v", valid, err)
		}
	})
	fresh(func(ctx context.Context, p *daemon.Pool) {
		if all, err := p.QueryAllValidPaths(ctx); len(all) != 1 || err != nil {
			t.Errorf("%v, %v", all, err)
		}
	})
	fresh(func(ctx context.Context, p *daemon.Pool) {
		if err := readInfos(p.QueryClosure(ctx, helloPath), 1); err != nil {
			t.Error(err)
		}
	})
	fresh(func(ctx context.Context, p *daemon.Pool) {
		if err := readFakeNAR(ctx, p); err != nil {
			t.Error(err)
		}
	})
	fresh(func(ctx context.Context, p *daemon.Pool) {
		if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); !errors.Is(err, daemon.ErrConnLost) {
			t.Errorf("a build: %v, want ErrConnLost", err)
		}
		if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
			t.Errorf("another build: %v", err)
		}
	})
	always := &memory{serve: func(p *peer, _ int) { p.next() }}
	pooled(t, always, nil, func(ctx context.Context, p *daemon.Pool) {
		if _, err := p.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrConnLost) {
			t.Errorf("%v", err)
		}
		if n := always.dials.Load(); n != 2 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// A long query continues at the first missing answer after its connection was lost.
func TestPoolContinuesQuery(t *testing.T) {
	const each = 7
	m := &memory{serve: func(p *peer, _ int) {
		for range each {
			p.answer(protocol.QueryPathInfo, fakeReply(p.next()))
		}
		p.nc.Close()
	}}
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		if err := readInfos(p.QueryPathInfos(ctx, slices.Repeat([]storepath.Path{helloPath}, 3*each)), 3*each); err != nil {
			t.Error(err)
		}
	})
}

// The pool reconnects to a restarted daemon, and never returns a broken connection.
func TestPoolRestart(t *testing.T) {
	m := new(memory)
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		oneByOne(t, ctx, p)
		m.restart()
		synctest.Wait()
		oneByOne(t, ctx, p)
		m.mu.Lock()
		m.dead = true
		m.mu.Unlock()
		m.restart()
		synctest.Wait()
		var dial *daemon.DialError
		if _, err := p.IsValidPath(ctx, helloPath); !errors.As(err, &dial) {
			t.Errorf("%v, want a DialError", err)
		}
		if err := p.OptimiseStore(ctx); !errors.As(err, &dial) {
			t.Errorf("%v, want a DialError", err)
		}
		m.mu.Lock()
		m.dead = false
		m.mu.Unlock()
		oneByOne(t, ctx, p)
	})
}

// After an error of the daemon the connection stays in the pool. After a refused upload the
// client queries its own path, to check that the stream is in step.
func TestPoolKeepsAfterError(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) {
		n := 0
		for req := p.next(); req != nil; req = p.next() {
			row, _ := protocol.Lookup(req.Op())
			p.readBody(row.Body(p.params), io.Discard)
			if q, ok := req.(*protocol.IsValidPathRequest); ok && !isKnown(q.Path) {
				p.answer(req.Op(), fakeReply(req))
				continue
			}
			n++
			p.fail(fmt.Sprint("no ", n))
		}
	}}
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		for range 5 {
			if _, err := p.IsValidPath(ctx, helloPath); !isDaemonError(err) {
				t.Errorf("%v", err)
			}
			if _, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil); !isDaemonError(err) {
				t.Errorf("%v", err)
			}
		}
		if n := m.dials.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// Idle connections are closed, except those with temporary roots.
func TestPoolIdle(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{IdleTimeout: time.Minute}, func(ctx context.Context, p *daemon.Pool) {
		oneArchive := func() io.Closer {
			r, err := p.NARFromPath(ctx, helloPath)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		a, b := oneArchive(), oneArchive()
		a.Close()
		b.Close()
		if n := m.open.Load(); n < 2 {
			t.Errorf("%d connections are open", n)
		}
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		if n := m.open.Load(); n != 0 {
			t.Errorf("%d connections are open after two minutes", n)
		}
		if err := p.AddTempRoot(ctx, helloPath); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := m.open.Load(); n != 1 {
			t.Errorf("%d connections are open with a temporary root", n)
		}
		session, err := p.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.(store.TempRooter).AddTempRoot(ctx, helloPath); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if n := m.open.Load(); n != 2 {
			t.Errorf("%d connections are open with a session", n)
		}
		session.Close()
		session.Close()
		synctest.Wait()
		if n := m.open.Load(); n != 1 {
			t.Errorf("%d connections are open after the session: its roots must go", n)
		}
		if _, err := session.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrClosed) {
			t.Errorf("a closed session: %v", err)
		}
	})
}

// Settings are sent on leased connections, and not on the shared one.
func TestPoolSettings(t *testing.T) {
	var told sync.Map
	m := &memory{serve: func(p *peer, n int) {
		for req := p.next(); req != nil; req = p.next() {
			switch req := req.(type) {
			case *protocol.SetOptionsRequest:
				if _, again := told.LoadOrStore(n, req.MaxBuildJobs); again {
					t.Error("settings were sent twice")
				}
			case *protocol.IsValidPathRequest:
				if _, is := told.Load(n); is {
					t.Error("a query was sent on a connection with settings")
				}
			case *protocol.BuildPathsRequest:
				if jobs, _ := told.Load(n); jobs != uint32(7) {
					t.Errorf("a build was sent with %v jobs", jobs)
				}
			}
			p.answer(req.Op(), fakeReply(req))
		}
	}}
	settings := daemon.DefaultSettings()
	settings.MaxBuildJobs = 7
	pooled(t, m, &daemon.Options{Settings: settings}, func(ctx context.Context, p *daemon.Pool) {
		for range 3 {
			if _, err := p.IsValidPath(ctx, helloPath); err != nil {
				t.Error(err)
			}
			if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
				t.Error(err)
			}
		}
		if n := m.dials.Load(); n != 2 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// A daemon that refuses the settings leaves the connection in step, but no later call may run
// with settings that the caller did not choose.
func TestPoolSettingsRefused(t *testing.T) {
	m := &memory{serve: func(p *peer, n int) {
		for req := p.next(); req != nil; req = p.next() {
			switch req.(type) {
			case *protocol.SetOptionsRequest:
				p.fail("no such setting")
				continue
			case *protocol.BuildPathsRequest:
				t.Error("a build was sent without the settings")
			}
			p.answer(req.Op(), fakeReply(req))
		}
	}}
	pooled(t, m, &daemon.Options{Settings: daemon.DefaultSettings()}, func(ctx context.Context, p *daemon.Pool) {
		for range 3 {
			err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal)
			if err == nil || !strings.Contains(err.Error(), "no such setting") {
				t.Errorf("a build whose settings were refused: %v", err)
			}
			if _, err := p.IsValidPath(ctx, helloPath); err != nil {
				t.Error(err)
			}
		}
	})
}

// Close ends running calls.
func TestPoolClose(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) { io.Copy(io.Discard, p.nc) }}
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		errs := make(chan error)
		go func() { _, err := p.IsValidPath(ctx, helloPath); errs <- err }()
		go func() { errs <- p.BuildPaths(ctx, fakeBuilt, store.BuildNormal) }()
		go func() { errs <- readInfos(p.QueryClosure(ctx, helloPath), 1) }()
		synctest.Wait()
		p.Close()
		for range 3 {
			if err := <-errs; !errors.Is(err, daemon.ErrClosed) || !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("%v", err)
			}
		}
	})
}
