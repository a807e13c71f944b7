package daemon_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"pix/daemon"
	"pix/store"
)

// acquire returns a lease.
func acquire(t *testing.T, ctx context.Context, p *daemon.Pool) *daemon.Lease {
	t.Helper()
	l, err := p.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A lease uses a connection of the pool and returns it. The next lease waits while MaxConns leases have calls.
func TestAcquire(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		for range 3 {
			l := acquire(t, ctx, p)
			if path, err := l.AddTextToStore(ctx, "hello.txt", "hello world", nil); path != helloPath || err != nil {
				t.Errorf("%s, %v", path, err)
			}
			l.Release()
			l.Release()
			oneByOne(t, ctx, p)
		}
		if n := m.dials.Load(); n != 1 {
			t.Errorf("%d connections were made", n)
		}
		l := acquire(t, ctx, p)
		defer l.Release()
		impatient, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := p.Acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second lease: %v", err)
		}
	})
}

// The holder of a lease may use the pool, even if it has one connection. Afterwards leases count again.
func TestHolderUsesPool(t *testing.T) {
	m := new(memory)
	pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		for range 3 {
			l := acquire(t, ctx, p)
			start := time.Now()
			oneByOne(t, ctx, p)
			if took := time.Since(start); took > time.Second {
				t.Errorf("the pool answered after %v", took)
			}
			if err := l.BuildPaths(ctx, fakeBuilt, store.BuildNormal); err != nil {
				t.Error(err)
			}
			l.Release()
		}
		if n := m.dials.Load(); n > 3 {
			t.Errorf("%d connections were made", n)
		}
	})
}

// Releasing or closing a lease again does not touch the connection, which the next lease has.
func TestReleaseAgain(t *testing.T) {
	pooled(t, new(memory), &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		first := acquire(t, ctx, p)
		first.Release()
		second := acquire(t, ctx, p)
		defer second.Release()
		archive, err := second.NARFromPath(ctx, helloPath) // a running call
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		first.Release()
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		if err := second.Err(); err != nil {
			t.Errorf("the next lease: %v", err)
		}
	})
}

// A lease whose holder makes one call after another counts against MaxConns, even if no call runs at the moments
// when the pool checks.
func TestBusyLeaseCounts(t *testing.T) {
	pooled(t, new(memory), &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		l := acquire(t, ctx, p)
		defer l.Release()
		waiting, cancel := context.WithCancel(ctx)
		result := make(chan error)
		go func() {
			other, err := p.Acquire(waiting)
			if err == nil {
				other.Release()
			}
			result <- err
		}()
		for range 100 {
			time.Sleep(20 * time.Millisecond) // of the bubble
			if err := l.AddTempRoot(ctx, helloPath); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("a second lease while the first is in use: %v", err)
		}
	})
}

// A connection that the next user would have to wait for, or that has other settings, is not reused.
func TestReleaseCloses(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, ctx context.Context, l *daemon.Lease){
		"open archive": func(t *testing.T, ctx context.Context, l *daemon.Lease) {
			if _, err := l.NARFromPath(ctx, helloPath); err != nil {
				t.Error(err)
			}
		},
		"settings": func(t *testing.T, ctx context.Context, l *daemon.Lease) {
			if err := l.SetOptions(ctx, &daemon.Settings{}); err != nil {
				t.Error(err)
			}
		},
		"closed": func(t *testing.T, _ context.Context, l *daemon.Lease) {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := new(memory)
			pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
				l := acquire(t, ctx, p)
				use(t, ctx, l)
				l.Release()
				if l.Err() == nil {
					t.Error("the connection is still open")
				}
				start := time.Now()
				oneByOne(t, ctx, p)
				if n := m.dials.Load(); n != 2 || time.Since(start) > 0 {
					t.Errorf("%d connections were made in %v", n, time.Since(start))
				}
			})
		})
	}
}

// A lease that is released or closed again does not end the calls of the next holder of its connection.
func TestReleasedTwice(t *testing.T) {
	for name, again := range map[string]func(l *daemon.Lease){
		"Release": (*daemon.Lease).Release,
		"Close":   func(l *daemon.Lease) { l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			m := new(memory)
			pooled(t, m, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
				first := acquire(t, ctx, p)
				first.Release()
				second := acquire(t, ctx, p)
				defer second.Release()
				archive, err := second.NARFromPath(ctx, helloPath)
				if err != nil {
					t.Fatal(err)
				}
				again(first)
				if _, err := io.Copy(io.Discard, archive); err != nil {
					t.Error(err)
				}
				archive.Close()
				if n := m.dials.Load(); n != 1 || second.Err() != nil {
					t.Errorf("%d connections were made, and the last one has the error %v", n, second.Err())
				}
			})
		})
	}
}
