package realise_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// An executorFunc is an executor.
type executorFunc func(context.Context, *builder.Request) (*store.BuildResult, error)

func (f executorFunc) Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
	return f(ctx, req)
}

// A call whose handler does not return does not delay another call with the same build, and gets the ends of all activities.
func TestSlowClient(t *testing.T) {
	w := newWorld(t)
	drv := w.derive("noisy")
	const lines = 2000
	build := func(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
		for realise.Calls(req) < 2 {
			time.Sleep(time.Millisecond)
		}
		h, id := activity.HandlerOf(ctx), activity.NewID()
		h.HandleEvent(activity.Start{ID: id, Type: activity.Build})
		for range lines {
			h.HandleEvent(activity.Result{ID: id, Type: activity.BuildLogLine, Fields: []activity.Field{activity.Text(strings.Repeat("x", 1000))}})
		}
		h.HandleEvent(activity.Stop{ID: id})
		return &store.BuildResult{Status: store.PermanentFailure, Message: "noisy is broken"}, nil
	}
	s := realise.New(w.local, &realise.Options{Settings: func(context.Context, store.Store) (*realise.Settings, error) {
		return &realise.Settings{MaxJobs: 1, Executor: executorFunc(build)}, nil
	}})
	release := make(chan struct{})
	var got, missing, running [2]int
	call := func(i int) <-chan error {
		done := make(chan error, 1)
		ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
			switch e := e.(type) {
			case activity.Start:
				running[i]++
				if i == 1 && e.Type == activity.Build {
					<-release
				}
			case activity.Stop:
				running[i]--
			case activity.Result:
				if e.Type == activity.BuildLogLine {
					got[i]++
				}
			case activity.Log:
				if strings.Contains(e.Text, "lines of the log are missing here") {
					missing[i]++
				}
			}
		}))
		go func() { done <- s.BuildPaths(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal) }()
		return done
	}
	slow, quick := call(1), call(0)
	select {
	case err := <-quick:
		if err == nil || !strings.Contains(err.Error(), "noisy is broken") {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the other call waits for the slow one")
	}
	close(release)
	if err := <-slow; err == nil || !strings.Contains(err.Error(), "noisy is broken") {
		t.Error(err)
	}
	if got[0] != lines || got[1] > lines/2 || missing != [2]int{0, 1} || running != [2]int{} {
		t.Errorf("the calls got %d lines, and %d activities have not ended", got, running)
	}
}

// Calls with different contents under one path, or different settings, share no build.
func TestNotShared(t *testing.T) {
	w := newWorld(t)
	drv := w.derive("same")
	text, err := store.Derivations(w.local).LoadDerivation(t.Context(), drv)
	if err != nil {
		t.Fatal(err)
	}
	d, err := derivation.ParseAt(drv, text)
	if err != nil {
		t.Fatal(err)
	}
	other := d.Clone()
	other.Env.Set("extra", "1")
	for _, test := range []struct {
		what   string
		second *derivation.Derivation
		keys   [2]string
		mode   store.BuildMode
		want   int32
	}{
		{"equal calls", d, [2]string{"a", "a"}, store.BuildNormal, 1},
		{"other contents", other, [2]string{"a", "a"}, store.BuildNormal, 2},
		{"other settings", d, [2]string{"a", "b"}, store.BuildNormal, 2},
		{"a check", d, [2]string{"a", "a"}, store.BuildCheck, 2},
	} {
		var builds, now, calls atomic.Int32
		build := func(_ context.Context, req *builder.Request) (*store.BuildResult, error) {
			builds.Add(1)
			if now.Add(1) > 1 {
				t.Errorf("%s: two builds at once", test.what)
			}
			defer now.Add(-1)
			for calls.Load() < 2 || test.want == 1 && realise.Calls(req) < 2 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond) // for a second build, which must not begin now
			return &store.BuildResult{Status: store.PermanentFailure, Message: "broken"}, nil
		}
		s := realise.New(w.local, &realise.Options{Settings: func(context.Context, store.Store) (*realise.Settings, error) {
			return &realise.Settings{MaxJobs: 1, BuildKey: test.keys[calls.Add(1)-1], Executor: executorFunc(build)}, nil
		}})
		done := make(chan error)
		for _, d := range []*derivation.Derivation{d, test.second} {
			go func() {
				result, err := s.BuildDerivation(t.Context(), drv, d, test.mode)
				if err == nil && result.Status != store.PermanentFailure {
					t.Errorf("%s: %+v", test.what, result)
				}
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", test.what, err)
			}
		}
		if n := builds.Load(); n != test.want {
			t.Errorf("%s: %d builds, want %d", test.what, n, test.want)
		}
	}
}

// Two clients that need the same derivations take turns at one slot, and no wake-up is lost: both calls end. The executor of
// this test builds valid outputs again.
func TestSameDerivationsOneSlot(t *testing.T) {
	w := newWorld(t)
	w.jobs, w.slots = 1, realise.NewSlots(1)
	var paths []derivation.DerivedPath
	for i := range 200 {
		paths = append(paths, out(w.derive(fmt.Sprintf("same%d", i))))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, done := w.store(), make(chan error, 2)
	for i := range 2 {
		go func() {
			done <- s.BuildPaths(context.WithValue(ctx, clientKey{}, fmt.Sprint(i)), paths, store.BuildNormal)
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most := w.most.Load(); most != 1 {
		t.Errorf("%d builds at once", most)
	}
	for _, path := range paths {
		outputs, err := store.OutputMap(t.Context(), w.local, path.(derivation.Built).Base())
		if err != nil {
			t.Fatal(err)
		}
		if valid, err := w.local.IsValidPath(t.Context(), outputs["out"]); err != nil || !valid {
			t.Errorf("%s is valid: %v, %v", outputs["out"], valid, err)
		}
	}
}

// Of the calls that share a build one gets the status Built, and its hook runs. In each call the count of the build comes
// before the end of its activity, as in Nix.
func TestSharedSuccess(t *testing.T) {
	w := newWorld(t)
	drv := w.derive("shared")
	const calls = 4
	var hooks atomic.Int32
	executor := &executor{w, w.local}
	build := func(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
		h, id := activity.HandlerOf(ctx), activity.NewID()
		h.HandleEvent(activity.Start{ID: id, Type: activity.Build})
		defer h.HandleEvent(activity.Stop{ID: id})
		for realise.Calls(req) < calls {
			time.Sleep(time.Millisecond)
		}
		result, err := executor.Build(ctx, req)
		result.TimesBuilt = 1
		return result, err
	}
	s := realise.New(w.local, &realise.Options{Settings: func(context.Context, store.Store) (*realise.Settings, error) {
		after := func(context.Context, storepath.Path, []storepath.Path) error { hooks.Add(1); return nil }
		return &realise.Settings{MaxJobs: 1, Executor: executorFunc(build), AfterBuild: after}, nil
	}})
	type outcome struct {
		status store.BuildStatus
		times  uint64
	}
	outcomes := make(chan outcome, calls)
	for range calls {
		go func() {
			var done uint64
			var buildID activity.ID
			ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
				switch e := e.(type) {
				case activity.Start:
					if e.Type == activity.Build {
						buildID = e.ID
					}
				case activity.Result:
					if e.Type == activity.Progress {
						done, _ = e.Fields[0].Number()
					}
				case activity.Stop:
					if e.ID == buildID && done != 1 {
						t.Errorf("the activity of the build ends before the call has counted it")
					}
				}
			}))
			results, err := s.BuildPathsWithResults(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal)
			if err != nil || buildID == 0 {
				t.Error(buildID, err)
				results = make([]store.KeyedBuildResult, 1)
			}
			outcomes <- outcome{results[0].Status, results[0].TimesBuilt}
		}()
	}
	count := make(map[outcome]int)
	for range calls {
		count[<-outcomes]++
	}
	if count[outcome{store.Built, 1}] != 1 || count[outcome{store.AlreadyValid, 0}] != calls-1 || hooks.Load() != 1 {
		t.Errorf("the results are %v, and %d hooks have run", count, hooks.Load())
	}
}
