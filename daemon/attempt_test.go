package daemon_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/daemon"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// manyCalls makes n calls of each kind at the same time, and returns their errors.
func manyCalls(ctx context.Context, p *daemon.Pool, n int) (errs []error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range n {
		for _, call := range []func() error{
			func() error { _, err := p.IsValidPath(ctx, helloPath); return err },
			func() error { return readInfos(p.QueryPathInfos(ctx, []storepath.Path{helloPath}), 1) },
			func() error { return readInfos(p.QueryClosure(ctx, helloPath), 1) },
			func() error { return p.BuildPaths(ctx, fakeBuilt, store.BuildNormal) },
			func() error { _, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil); return err },
			func() error { return readFakeNAR(ctx, p) },
			func() error {
				s, err := p.Session(ctx)
				if err == nil {
					s.Close()
				}
				return err
			},
		} {
			all.Go(func() {
				err := call()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
	}
	all.Wait()
	return errs
}

// Callers of all kinds, early and late, share one attempt to connect to a daemon that hangs,
// and its error.
func TestHungDaemon(t *testing.T) {
	for name, settings := range map[string]*daemon.Settings{"without settings": nil, "with settings": daemon.DefaultSettings()} {
		t.Run(name, func(t *testing.T) {
			m := new(memory)
			pooled(t, m, &daemon.Options{MaxConns: 2, Settings: settings}, func(ctx context.Context, p *daemon.Pool) {
				m.hang(true)
				for range 2 {
					before, start := m.dials.Load(), time.Now()
					for _, err := range manyCalls(ctx, p, 40) {
						var dial *daemon.DialError
						if !errors.As(err, &dial) || !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("%v, want a DialError of the handshake", err)
						}
					}
					if took := time.Since(start); took != 10*time.Second {
						t.Errorf("it took %v", took)
					}
					if n := m.dials.Load() - before; n != 1 {
						t.Errorf("%d attempts to connect were made", n)
					}
				}
				m.hang(false)
				for _, err := range manyCalls(ctx, p, 10) {
					if err != nil {
						t.Error(err)
					}
				}
				s, err := p.Session(ctx)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
			})
		})
	}
}

// A daemon that hangs when it gets the settings is an attempt to connect that fails.
func TestHungAtSettings(t *testing.T) {
	m := &memory{serve: func(p *peer, n int) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() != protocol.SetOptions {
				p.do(req)
			}
		}
	}}
	pooled(t, m, &daemon.Options{MaxConns: 2, Settings: daemon.DefaultSettings()}, func(ctx context.Context, p *daemon.Pool) {
		start := time.Now()
		for _, err := range manyBuilds(ctx, p, 40) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		if took := time.Since(start); took > 20*time.Second { // one existing connection, and one attempt
			t.Errorf("it took %v", took)
		}
	})
}

func manyBuilds(ctx context.Context, p *daemon.Pool, n int) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = p.BuildPaths(ctx, fakeBuilt, store.BuildNormal) })
	}
	all.Wait()
	return errs
}

// A caller whose context ends stops waiting. The attempt continues for the other callers, even
// if that caller started it, and ends with the last of them.
func TestAttemptOutlivesItsFirstCaller(t *testing.T) {
	m := new(memory)
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		m.hang(true)
		before := m.dials.Load()
		errs := make(chan error)
		call := func(patience time.Duration) {
			go func() {
				ctx, cancel := context.WithTimeoutCause(ctx, patience, errBoo)
				defer cancel()
				_, err := p.IsValidPath(ctx, helloPath)
				errs <- err
			}()
			synctest.Wait()
		}
		start := time.Now()
		for i := range 3 {
			call(time.Duration(i+1) * time.Second)
		}
		for i := range 3 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBoo) {
				t.Errorf("%v, want the caller's own error", err)
			}
			if took := time.Since(start); took != time.Duration(i+1)*time.Second {
				t.Errorf("caller %d left after %v", i, took)
			}
			synctest.Wait()
			if open := m.open.Load(); (open == 1) != (i < 2) {
				t.Errorf("%d connections are open after caller %d has left", open, i)
			}
		}
		call(time.Hour)
		m.mu.Lock()
		m.hangs = false
		m.mu.Unlock()
		if err := <-errs; err == nil || time.Since(start) != 13*time.Second {
			t.Errorf("a new caller got %v after %v", err, time.Since(start))
		}
		if n := m.dials.Load() - before; n != 2 {
			t.Errorf("%d attempts to connect were made", n)
		}
		oneByOne(t, ctx, p)
	})
}

// While an attempt hangs, a waiting call gets a connection that becomes free.
func TestFreedConnectionDuringAttempt(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() == protocol.BuildPaths {
				time.Sleep(time.Second)
			}
			p.do(req)
		}
	}}
	pooled(t, m, nil, func(ctx context.Context, p *daemon.Pool) {
		start := time.Now()
		go p.BuildPaths(ctx, fakeBuilt, store.BuildNormal)
		synctest.Wait()
		m.mu.Lock()
		m.hangs = true
		m.mu.Unlock()
		err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal)
		if took := time.Since(start); err != nil || took != 2*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if n := m.dials.Load(); n != 2 {
			t.Errorf("%d attempts to connect were made", n)
		}
	})
}

// Close ends an attempt and all calls that wait for it.
func TestCloseEndsAttempt(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		m.hang(true)
		done := make(chan []error)
		go func() { done <- manyCalls(ctx, p, 10) }()
		synctest.Wait()
		start := time.Now()
		p.Close()
		for _, err := range <-done {
			if !errors.Is(err, daemon.ErrClosed) || !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("%v", err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// A failingTransport calls a function instead of dialling.
type failingTransport struct {
	*memory
	dial atomic.Pointer[func()]
}

func (f *failingTransport) Dial(ctx context.Context) (net.Conn, error) {
	if dial := f.dial.Load(); dial != nil {
		(*dial)()
	}
	return f.memory.Dial(ctx)
}

// A transport that panics or exits its goroutine fails the calls, and has no other effect.
func TestTransportThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &failingTransport{memory: new(memory)}
		p, err := daemon.Open(t.Context(), tr, &daemon.Options{MaxConns: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for _, dial := range []func(){func() { panic("a bug") }, runtime.Goexit} {
			tr.dial.Store(&dial)
			tr.restart()
			synctest.Wait()
			for _, err := range manyCalls(t.Context(), p, 3) {
				if err == nil || !strings.Contains(err.Error(), "connecting to the Nix daemon") {
					t.Errorf("%v", err)
				}
			}
		}
		tr.dial.Store(nil)
		oneByOne(t, t.Context(), p)
	})
}
