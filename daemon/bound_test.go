package daemon_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// adding adds n texts, many at the same time, and fails the test if that takes longer than
// most.
func adding(t *testing.T, ctx context.Context, p *daemon.Pool, n int, most time.Duration) {
	t.Helper()
	start := time.Now()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if path, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil); path != helloPath || err != nil {
				t.Errorf("%s, %v", path, err)
			}
		})
	}
	all.Wait()
	if took := time.Since(start); took > most {
		t.Errorf("adding %d texts took %v", n, took)
	}
}

// Sessions do not count: calls do not wait for them, and reuse the existing connections.
func TestPoolWithIdleSessions(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 2}, func(ctx context.Context, p *daemon.Pool) {
		const sessions = 5
		for range sessions {
			s, err := p.Session(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
		for range 3 {
			adding(t, ctx, p, 100, 0)
		}
		if n := m.dials.Load(); n > sessions+3 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// Open archives that are not read stop counting, once. Later calls reuse the connections that
// are opened instead.
func TestPoolWithIdleArchives(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 2}, func(ctx context.Context, p *daemon.Pool) {
		const archives = 4
		var open []io.ReadCloser
		for range archives {
			r, err := p.NARFromPath(ctx, helloPath)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, r)
		}
		adding(t, ctx, p, 100, time.Second)
		adding(t, ctx, p, 100, 0)
		for range 200 { // sequentially
			adding(t, ctx, p, 1, 0)
		}
		if n := m.dials.Load(); n > archives+3 {
			t.Errorf("%d connections were made", n)
		}
		for _, r := range open {
			if nar, err := io.ReadAll(r); err != nil || !bytes.Equal(nar, fakeNAR) {
				t.Errorf("%d bytes, %v", len(nar), err)
			}
			r.Close()
		}
		// New leases count again.
		before := m.dials.Load()
		adding(t, ctx, p, 100, 0)
		if n := m.dials.Load() - before; n != 0 {
			t.Errorf("%d connections were made afterwards", n)
		}
	})
}

// Callbacks that run regularly continue to count, however many calls wait: handlers, readers,
// and archives that are read.
func TestPoolStaysBounded(t *testing.T) {
	const most = 3
	var atOnce, peak atomic.Int32
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			n := atOnce.Add(1)
			for old := peak.Load(); n > old && !peak.CompareAndSwap(old, n); old = peak.Load() {
			}
			for range 20 {
				p.log("working")
				time.Sleep(100 * time.Millisecond)
			}
			p.do(req)
			atOnce.Add(-1)
		}
	}}
	pooled(t, m, &daemon.Options{MaxConns: most}, func(ctx context.Context, p *daemon.Pool) {
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { time.Sleep(90 * time.Millisecond) }))
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := p.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				_, err := p.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, &slowly{n: 20, delay: 90 * time.Millisecond}, nil)
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := peak.Load(); n != most {
			t.Errorf("%d connections were in use at once, want %d", n, most)
		}
	})
}

// A slowly reader returns n bytes, one by one, with a delay.
type slowly struct {
	n     int
	delay time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	time.Sleep(s.delay)
	if s.n--; s.n < 0 {
		return 0, io.EOF
	}
	p[0] = 'x'
	return 1, nil
}

// A lease on a slow daemon continues to count: other calls wait.
func TestSlowDaemonCounts(t *testing.T) {
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			time.Sleep(time.Minute)
			p.do(req)
		}
	}}
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		start := time.Now()
		ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) {}))
		var all sync.WaitGroup
		all.Go(func() { p.BuildPaths(ctx, fakeBuilt, store.BuildNormal) })
		all.Go(func() {
			p.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, io.LimitReader(zeros{}, 10<<20), nil)
		})
		all.Go(func() { readFakeNAR(ctx, p) })
		all.Wait()
		if n := m.dials.Load(); n > 2 { // one of them for queries
			t.Errorf("%d connections were made in %v", n, time.Since(start))
		}
	})
}

// All handlers, readers, sequences, loops and archives of many callers use a pool of two
// connections at the same time. All calls end, and the pool does not open a connection for each
// call.
func TestPoolNestedByMany(t *testing.T) {
	for _, version := range []uint8{0, 31, 22, 20} { // 0: the newest
		m := &memory{version: version}
		pooled(t, m, &daemon.Options{MaxConns: 2}, func(ctx context.Context, p *daemon.Pool) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			add := func() {
				if _, err := p.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil {
					t.Error(err)
				}
			}
			reader := func() io.Reader {
				return readerFunc(func([]byte) (int, error) { add(); return 0, io.EOF })
			}
			info := fakeInfo
			calls := []func() error{
				func() error {
					hearing := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { add() }))
					return p.BuildPaths(hearing, fakeBuilt, store.BuildNormal)
				},
				func() error {
					_, err := p.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, reader(), nil)
					return err
				},
				func() error {
					return p.AddMultipleToStore(ctx, 2, nested(fakeObjects(2), add), nil)
				},
				func() error {
					for range p.NARsFromPaths(ctx, []*store.PathInfo{&info, &info}) {
						add()
					}
					return nil
				},
				func() error {
					r, err := p.NARFromPath(ctx, helloPath)
					if err != nil {
						return err
					}
					defer r.Close()
					add()
					_, err = io.ReadAll(r)
					return err
				},
				func() error {
					for range p.QueryPathInfos(ctx, []storepath.Path{helloPath, helloPath}) {
						add()
					}
					return nil
				},
			}
			var all sync.WaitGroup
			const times = 5
			for range times {
				for _, call := range calls {
					all.Go(func() {
						if err := call(); err != nil {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			if n := m.dials.Load(); n > times*int32(len(calls))+3 {
				t.Errorf("%d connections were made", n)
			}
		})
	}
}

// nested returns a sequence that makes a call before each object and in each archive's reader.
func nested(objects iter.Seq2[store.Import, error], call func()) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for object, err := range objects {
			call()
			archive := object.NAR
			object.NAR = readerFunc(func(p []byte) (int, error) { call(); return archive.Read(p) })
			if !yield(object, err) {
				return
			}
		}
	}
}

// The lease of a handler that waits long stops counting for good: its next calls do not wait.
func TestHandlerStopsCountingOnce(t *testing.T) {
	const lines = 100
	m := &memory{serve: func(p *peer, _ int) {
		for req := p.next(); req != nil; req = p.next() {
			if req.Op() == protocol.BuildPaths {
				for range lines {
					p.log("working")
				}
			}
			p.do(req)
		}
	}}
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		heard := 0
		hearing := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) {
			heard++
			adding(t, ctx, p, 1, time.Second)
		}))
		start := time.Now()
		if err := p.BuildPaths(hearing, fakeBuilt, store.BuildNormal); err != nil || heard != lines {
			t.Errorf("%d lines, %v", heard, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the build took %v", took)
		}
	})
}

// Connections with temporary roots are kept, even if more than MaxConns are idle. Other
// connections are closed.
func TestPoolKeepsRoots(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		var open []io.Closer
		for range 4 { // each on its own connection
			r, err := p.NARFromPath(ctx, helloPath)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, r)
		}
		for _, r := range open {
			r.Close()
		}
		synctest.Wait()
		if n := m.open.Load(); n != 2 {
			t.Errorf("%d connections are open, want an idle one and the shared one", n)
		}
		var all sync.WaitGroup
		for range 3 { // the handler keeps three connections in use at once
			var meet sync.WaitGroup
			meet.Add(1)
			hearing := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) { meet.Done(); time.Sleep(time.Hour) }))
			all.Go(func() {
				if err := p.AddTempRoot(hearing, helloPath); err != nil {
					t.Error(err)
				}
			})
			meet.Wait()
		}
		all.Wait()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := m.open.Load(); n != 3 {
			t.Errorf("%d connections with roots are open, want 3", n)
		}
	})
}
