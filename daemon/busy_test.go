package daemon_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A call that would wait for itself fails at once: in a handler, a reader, a sequence, or a
// loop over archives. The outer call continues.
func TestCallsOfItself(t *testing.T) {
	for _, cb := range callbacks {
		t.Run(cb.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{version: cb.version, serve: serveChain}
				c, err := daemon.DialTransport(t.Context(), m, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var busy, answered int
				err = cb.run(ctx, c, func() bool {
					before := time.Now()
					for _, call := range []func() error{
						func() error { _, err := c.IsValidPath(ctx, helloPath); return err },
						func() error { return readInfos(c.QueryPathInfos(ctx, fakePaths), 1) },
						func() error { return c.BuildPaths(ctx, fakeBuilt, store.BuildNormal) },
						func() error { return readFakeNAR(ctx, c) },
					} {
						switch err := call(); {
						case errors.Is(err, daemon.ErrBusy):
							busy++
						case err == nil:
							answered++
						default:
							t.Errorf("%v", err)
						}
					}
					if took := time.Since(before); took > time.Minute {
						t.Errorf("it took %v", took)
					}
					return true
				})
				if err != nil {
					t.Errorf("the outer call: %v", err)
				}
				if busy+answered == 0 {
					t.Error("the caller's code did not run")
				}
				stillGood(t, ctx, c)
			})
		})
	}
	// In a loop over archives every call would wait for itself.
	synctest.Test(t, func(t *testing.T) {
		c, err := daemon.DialTransport(t.Context(), &memory{serve: serveChain}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = loopArchives(t.Context(), c, func(r io.Reader) bool {
			if _, err := c.IsValidPath(t.Context(), helloPath); !errors.Is(err, daemon.ErrBusy) {
				t.Errorf("in a loop over archives: %v", err)
			}
			_, err := io.Copy(io.Discard, r)
			return err == nil
		})
		if err != nil {
			t.Error(err)
		}
		stillGood(t, t.Context(), c)
	})
}

// Calls of other goroutines wait for a handler, a reader, a loop and an archive.
func TestOthersWait(t *testing.T) {
	m := &memory{serve: serveChain}
	synctest.Test(t, func(t *testing.T) {
		c, err := daemon.DialTransport(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx := t.Context()
		slow := func() bool { time.Sleep(time.Hour); return true }
		for _, call := range []func() error{
			func() error { return c.BuildPaths(hearing(ctx, slow), fakeBuilt, store.BuildNormal) },
			func() error {
				_, err := c.AddToStore(ctx, "hello.txt", storepath.Flat, nixhash.SHA256, nil, &slowly{3, time.Hour}, nil)
				return err
			},
			func() error {
				return loopArchives(ctx, c, func(r io.Reader) bool { slow(); io.Copy(io.Discard, r); return true })
			},
			func() error {
				r, err := c.NARFromPath(hearing(ctx, func() bool { return true }), helloPath)
				if err != nil {
					return err
				}
				defer r.Close()
				slow()
				_, err = io.Copy(io.Discard, r)
				return err
			},
		} {
			done := make(chan error)
			go func() { done <- call() }()
			synctest.Wait()
			start := time.Now()
			time.Sleep(10 * time.Minute)
			stillGood(t, ctx, c)
			if time.Since(start) < time.Hour {
				t.Error("the call did not wait")
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A call that waits for a connection fails when the connection breaks, even if the archive on
// it stays open.
func TestWaitersLearnOfLoss(t *testing.T) {
	play(t, newest, nil, func(p *peer) {
		p.answerArchive(infoOf(fakeNAR), fakeNAR[:50])
		time.Sleep(time.Second)
	}, func(ctx context.Context, c *daemon.Conn) {
		r, err := c.NARFromPath(ctx, helloPath)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		start := time.Now()
		errs := make(chan error)
		for _, call := range []func() error{
			func() error { _, err := c.IsValidPath(ctx, helloPath); return err },
			func() error { return readInfos(c.QueryPathInfos(ctx, fakePaths), 1) },
			func() error { return c.BuildPaths(ctx, fakeBuilt, store.BuildNormal) },
			func() error { return readFakeNAR(ctx, c) },
			func() error { return loopArchives(ctx, c, func(io.Reader) bool { return true }) },
		} {
			go func() { errs <- call() }()
		}
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { c.Close() })
		for range 5 {
			if err := <-errs; !errors.Is(err, daemon.ErrConnLost) {
				t.Errorf("%v, want ErrConnLost", err)
			}
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// A session refuses a call that would wait for itself. Its pool answers it.
func TestSessionCallsItself(t *testing.T) {
	pooled(t, &memory{serve: serveChain}, &daemon.Options{MaxConns: 1}, func(ctx context.Context, p *daemon.Pool) {
		opened, err := p.Session(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s := opened.(*daemon.Session)
		defer s.Close()
		heard := 0
		err = s.BuildPaths(activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) {
			heard++
			if _, err := s.IsValidPath(ctx, helloPath); !errors.Is(err, daemon.ErrBusy) {
				t.Errorf("the session: %v", err)
			}
			oneByOne(t, ctx, p)
		})), fakeBuilt, store.BuildNormal)
		if err != nil || heard != times {
			t.Errorf("%d events, %v", heard, err)
		}
	})
}
