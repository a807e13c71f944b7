package substitute_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/activity"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// Concurrent calls that need the same paths fetch each path once.
func TestFetchedOnce(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	var libs, apps []storepath.Path
	for i := range 20 {
		libs = append(libs, sub.put(t, named(t, fmt.Sprint("lib", i)), &key, libs...))
	}
	for i := range 8 {
		apps = append(apps, sub.put(t, named(t, fmt.Sprint("app", i)), &key, libs[:10+i]...))
	}
	s := local(t, from(key, sub))
	var callers sync.WaitGroup
	for i := range 4 * len(apps) {
		callers.Go(func() {
			session, err := s.Session(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer session.Close()
			if err := store.BuildPaths(t.Context(), session, opaque(apps[i%len(apps)]), store.BuildNormal); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	checkValid(t, s, true, apps...)
	for _, p := range append(apps, libs[:17]...) {
		if n := sub.times(p); n != 1 {
			t.Errorf("%s was fetched %d times", p, n)
		}
	}
}

// A call that waits for another call's fetch fetches the paths itself if the other call fails.
func TestFailedClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, sub := newKey(t, "k"), newSubstituter()
		lib := sub.put(t, named(t, "lib"), &key)
		app := sub.put(t, named(t, "app"), &key, lib)
		var stalled atomic.Bool
		sub.hook = func(ctx context.Context, _ storepath.Path) error {
			if stalled.Swap(true) {
				return nil
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}
		s := over(t, memstore.New(nil), from(key, sub))
		first, giveUp := context.WithCancelCause(t.Context())
		failed := make(chan error)
		go func() { failed <- s.EnsurePath(first, app) }()
		synctest.Wait() // the first call has claimed both
		second := make(chan error)
		go func() { second <- s.EnsurePath(t.Context(), app) }()
		time.Sleep(5 * time.Second)
		checkValid(t, s, false, app)
		begin := time.Now()
		giveUp(errBroken)
		if err := <-failed; !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		if err := <-second; err != nil || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		checkValid(t, s, true, lib, app)
	})
}

// A context ends a call at once, whatever a substituter delays, and the handler gets no events afterwards.
func TestCancel(t *testing.T) {
	wait := func(ctx context.Context, _ storepath.Path) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for name, stall := range map[string]func(*substituter){
		"question": func(s *substituter) { s.query = wait },
		"archive":  func(s *substituter) { s.hook = wait },
	} {
		t.Run(name, func(t *testing.T) {
			key, sub := newKey(t, "k"), newSubstituter()
			app := sub.put(t, named(t, "app"), &key, sub.put(t, named(t, "lib"), &key))
			stall(sub)
			s := local(t, from(key, sub))
			for what, call := range map[string]func(context.Context) error{
				"build": func(ctx context.Context) error { return s.BuildPaths(ctx, opaque(app), store.BuildNormal) },
				"results": func(ctx context.Context) error {
					_, err := s.BuildPathsWithResults(ctx, opaque(app), store.BuildNormal)
					return err
				},
				"ensure": func(ctx context.Context) error { return s.EnsurePath(ctx, app) },
				"valid": func(ctx context.Context) error {
					_, err := s.QueryValidPaths(ctx, []storepath.Path{app}, true)
					return err
				},
				"missing": func(ctx context.Context) error { _, err := s.QueryMissing(ctx, opaque(app)); return err },
			} {
				ctx, events := record(t)
				ctx, cancel := context.WithCancelCause(ctx)
				var begin time.Time
				time.AfterFunc(20*time.Millisecond, func() { begin = time.Now(); cancel(errBroken) })
				err := call(ctx)
				if what == "missing" && name == "archive" {
					if err != nil { // this call needs no archive
						t.Errorf("%s: %v", what, err)
					}
					continue
				}
				took := time.Since(begin)
				if !errors.Is(err, errBroken) || took > 500*time.Millisecond { // slow under the race detector
					t.Errorf("%s: %v after %v", what, err, took)
				}
				before := len(events.events)
				time.Sleep(5 * time.Millisecond)
				if len(events.events) != before {
					t.Errorf("%s: an event arrived after the call had ended", what)
				}
			}
		})
	}
}

// An inventor is a substituter that invents an info for every path, each with many references to
// paths that do not exist.
type inventor struct {
	*substituter
	references int
	n          atomic.Int64
}

func (v *inventor) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1}
	for range v.references {
		ref, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-invented", v.n.Add(1)))
		if err != nil {
			return nil, err
		}
		info.References = append(info.References, ref)
	}
	return info, nil
}

// A substituter that invents paths does not exhaust the memory, whichever method is called.
func TestEndlessClosure(t *testing.T) {
	root := storepath.Path("/nix/store/00000000000000000000000000000000-invented")
	for what, call := range map[string]func(s *substitute.Store) error{
		"ensure":  func(s *substitute.Store) error { return s.EnsurePath(t.Context(), root) },
		"build":   func(s *substitute.Store) error { return s.BuildPaths(t.Context(), opaque(root), store.BuildNormal) },
		"missing": func(s *substitute.Store) error { _, err := s.QueryMissing(t.Context(), opaque(root)); return err },
		"infos": func(s *substitute.Store) error {
			asked := make(map[storepath.Path]storepath.ContentAddress)
			for i := range 10_000 {
				path, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-asked", i))
				if err != nil {
					return err
				}
				asked[path] = storepath.ContentAddress{}
			}
			_, err := s.QuerySubstitutablePathInfos(t.Context(), asked)
			return err
		},
	} {
		for _, references := range []int{2, 25_000} {
			if what == "infos" && references == 2 {
				continue // this query does not follow references
			}
			t.Run(fmt.Sprint(what, references), func(t *testing.T) {
				limits, most := &store.Limits{Bytes: 64 << 20}, int64(170<<20)
				if what == "build" {
					limits, most = nil, 300<<20
				}
				testenv.MaxResident(t, most, func(t *testing.T) {
					liar := &inventor{substituter: newSubstituter(), references: references}
					settings := &substitute.Settings{Substituters: []substitute.Substituter{{Store: liar, URI: "cache://liar", Trusted: true}}}
					s := substitute.New(memstore.New(&memstore.Options{MaxSize: 1 << 40}), &substitute.Options{
						Settings: func(context.Context) (*substitute.Settings, error) { return settings, nil }, Limits: limits,
					})
					err := call(s)
					limit, ok := errors.AsType[*store.LimitError](err)
					if !ok || what != "infos" && limit.Root != root || !strings.Contains(err.Error(), "'cache://liar'") {
						t.Errorf("%v", err)
					}
				})
			})
		}
	}
}

// boundless is a substituter whose paths have given references.
type boundless struct {
	*substituter
	refs []storepath.Path
}

func (b *boundless) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	info, err := b.substituter.QueryPathInfo(ctx, path)
	if err == nil {
		info.References = b.refs
	}
	return info, err
}

// Two infos that refer to each other are an error.
func TestCycle(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	a, b := named(t, "a"), named(t, "b")
	sub.put(t, a, &key)
	sub.put(t, b, &key, a)
	liar := &boundless{substituter: sub, refs: []storepath.Path{b, a}}
	settings := from(key)
	settings.Substituters = []substitute.Substituter{{Store: liar, Trusted: true}}
	err := local(t, settings).EnsurePath(t.Context(), b)
	if _, ok := errors.AsType[*store.ReferenceCycleError](err); !ok {
		t.Errorf("%v", err)
	}
}

// A garbage collection during a substitution deletes nothing that the substitution needs.
func TestWhileCollecting(t *testing.T) {
	key, sub := newKey(t, "k"), newSubstituter()
	var libs []storepath.Path
	for i := range 12 {
		libs = append(libs, sub.put(t, named(t, fmt.Sprint("lib", i)), &key, libs...))
	}
	app := sub.put(t, named(t, "app"), &key, libs...)
	s := local(t, from(key, sub))
	var done atomic.Bool
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for !done.Load() {
			if _, err := store.CollectGarbage(t.Context(), s, store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 40 {
		session, err := s.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wanted := libs[i%len(libs)]
		if i%2 == 0 {
			wanted = app
		}
		if err := store.BuildPaths(t.Context(), session, opaque(wanted), store.BuildNormal); err != nil {
			t.Errorf("round %d: %v", i, err)
		}
		for info, err := range store.Closure(t.Context(), session, wanted) {
			if err != nil {
				t.Errorf("round %d: %v, %v", i, info, err)
			}
		}
		session.Close()
	}
	done.Store(true)
	collecting.Wait()
}

// No call waits for a stalled one: its substituter may send nothing, or its handler may block.
func TestStalledClaim(t *testing.T) {
	for _, what := range []string{"substituter", "handler"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key, sub := newKey(t, "k"), newSubstituter()
				app := sub.put(t, named(t, "app"), &key)
				release := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				if what == "handler" {
					ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
						if start, ok := e.(activity.Start); ok && start.Type == activity.CopyPath {
							<-release
						}
					}))
				} else {
					var stalled atomic.Bool
					sub.hook = func(ctx context.Context, _ storepath.Path) error {
						if !stalled.Swap(true) {
							<-ctx.Done()
						}
						return nil
					}
				}
				s := over(t, memstore.New(nil), from(key, sub))
				first := make(chan error)
				go func() { first <- s.EnsurePath(ctx, app) }()
				synctest.Wait()
				begin := time.Now()
				if err := s.EnsurePath(t.Context(), app); err != nil || time.Since(begin) > 15*time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				close(release)
				cancel()
				<-first
			})
		})
	}
}
