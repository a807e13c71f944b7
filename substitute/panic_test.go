package substitute_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/internal/testenv"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// A panic or runtime.Goexit in a substituter or a handler reaches the caller. No goroutine and no claim is
// left behind, so the next call does not wait.
func TestPanics(t *testing.T) {
	for _, where := range []string{"query", "archive", "handler", "open"} {
		for _, goexit := range []bool{false, true} {
			for _, call := range []string{"ensure", "build", "valid", "missing"} {
				if call == "missing" && where == "archive" {
					continue // this call reads no archive
				}
				t.Run(fmt.Sprintf("%s, %s, goexit %t", where, call, goexit), func(t *testing.T) {
					testenv.NoLeak(t)
					key, sub := newKey(t, "k"), newSubstituter()
					var libs []storepath.Path
					for i := range 10 {
						libs = append(libs, sub.put(t, named(t, fmt.Sprint("lib", i)), &key, libs...))
					}
					var bad atomic.Bool
					fault := func() {
						if bad.CompareAndSwap(true, false) {
							testenv.Fault(goexit)
						}
					}
					ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) {}))
					switch where {
					case "query":
						sub.query = func(context.Context, storepath.Path) error { fault(); return nil }
					case "archive":
						sub.hook = func(context.Context, storepath.Path) error { fault(); return nil }
					case "handler":
						ctx = activity.WithHandler(t.Context(), activity.HandlerFunc(func(activity.Event) { fault() }))
					}
					sources := &substitute.Sources{Open: func(context.Context, string) (store.Store, error) {
						if where == "open" {
							fault()
						}
						return sub, nil
					}}
					s := substitute.New(memstore.New(nil), &substitute.Options{Settings: func(ctx context.Context) (*substitute.Settings, error) {
						settings := from(key)
						var err error
						settings.Substituters, err = sources.Get(ctx, []string{"test://a"})
						return settings, err
					}})
					try := func() error {
						switch call {
						case "ensure":
							return s.EnsurePath(ctx, libs[9])
						case "build":
							return s.BuildPaths(ctx, opaque(libs[9]), store.BuildNormal)
						case "valid":
							_, err := s.QueryValidPaths(ctx, libs[9:], true)
							return err
						}
						_, err := s.QueryMissing(ctx, opaque(libs[9]))
						return err
					}
					bad.Store(true)
					testenv.CheckFault(t, goexit, func() { try() })
					if bad.Load() {
						t.Error("the call did not panic")
					}
					begin := time.Now()
					if err := try(); err != nil || time.Since(begin) > time.Minute {
						t.Errorf("the next call: %v after %v", err, time.Since(begin))
					}
					checkValid(t, s, call != "missing", libs...)
				})
			}
		}
	}
}

// Calls that are cancelled at any time end, leave nothing behind, and send no events afterwards.
func TestCancelAnyTime(t *testing.T) {
	testenv.NoLeak(t)
	key, sub := newKey(t, "k"), newSubstituter()
	var libs []storepath.Path
	for i := range 20 {
		libs = append(libs, sub.put(t, named(t, fmt.Sprint("lib", i)), &key, libs...))
	}
	slow := func(ctx context.Context, _ storepath.Path) error {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
		return nil
	}
	sub.query, sub.hook = slow, slow
	for range 30 {
		s := substitute.New(memstore.New(nil), &substitute.Options{
			Settings: func(context.Context) (*substitute.Settings, error) { return from(key, sub), nil },
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), cancel)
		var calls sync.WaitGroup
		for i := range 4 {
			calls.Go(func() {
				var after atomic.Bool
				ctx := activity.WithHandler(ctx, activity.HandlerFunc(func(activity.Event) {
					if after.Load() {
						t.Error("the handler is called after the call")
					}
				}))
				if i == 3 {
					s.QueryMissing(ctx, opaque(libs[19]))
				} else {
					s.EnsurePath(ctx, libs[17+i])
				}
				after.Store(true)
			})
		}
		calls.Wait()
		cancel()
	}
}
