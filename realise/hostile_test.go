package realise_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/derivation"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// busyBuilds are builds that the test ends one at a time, beside a single one of another call.
type busyBuilds struct {
	begun   atomic.Int32
	single  atomic.Bool // it has begun
	release chan struct{}
}

func (b *busyBuilds) build(ctx context.Context, name string) *store.BuildResult {
	if name == "single" {
		b.single.Store(true)
		return nil
	}
	b.begun.Add(1)
	select {
	case <-b.release:
	case <-ctx.Done():
	}
	return nil
}

// endUntilSingle ends builds until the single one begins, and returns their number.
func (b *busyBuilds) endUntilSingle(t *testing.T) (n int) {
	t.Helper()
	for ; !b.single.Load(); n++ {
		begun := b.begun.Load()
		b.release <- struct{}{}
		waitUntil(t, func() bool { return b.single.Load() || b.begun.Load() > begun })
	}
	return n
}

// A call with many builds, and a max-jobs of its own, does not keep the only build of another call waiting for all of them.
func TestFairness(t *testing.T) {
	w := newWorld(t)
	w.jobs, w.slots = 1000, realise.NewSlots(2)
	busy := &busyBuilds{release: make(chan struct{})}
	w.build = busy.build
	var paths []derivation.DerivedPath
	for i := range 100 {
		paths = append(paths, out(w.derive(fmt.Sprint("many", i))))
	}
	single := out(w.derive("single"))
	s := w.store()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.BuildPaths(ctx, paths, store.BuildNormal) }()
	most := max(2, runtime.NumCPU())
	waitUntil(t, func() bool { return w.slots.Used() == most && w.slots.Waiting("") == 0 })
	ended := make(chan error, 1)
	go func() { ended <- s.BuildPaths(t.Context(), []derivation.DerivedPath{single}, store.BuildNormal) }()
	waitUntil(t, func() bool { return w.slots.Waiting("") == 1 })
	if n := busy.endUntilSingle(t); n > most {
		t.Errorf("%d builds of another call ended before the only one of this call", n)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	cancel()
	<-done
}

// Cancelled calls, failures and panics give their slots back.
func TestSlotsAreGivenBack(t *testing.T) {
	w := newWorld(t)
	w.jobs, w.slots = 2, realise.NewSlots(2)
	var n atomic.Int32
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		switch n.Add(1) % 4 {
		case 0:
			panic("executor")
		case 1:
			return &store.BuildResult{Status: store.PermanentFailure, Message: name + " is broken"}
		case 2:
			<-ctx.Done()
		}
		return nil
	}
	var paths []derivation.DerivedPath
	for i := range 6 {
		paths = append(paths, out(w.derive(fmt.Sprint("drv", i))))
	}
	s := w.store()
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			defer func() { _ = recover() }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%10)*2*time.Millisecond+time.Millisecond)
			defer cancel()
			if i%2 == 0 {
				_ = s.BuildPaths(ctx, paths[i%3:i%3+3], store.BuildNormal)
				return
			}
			text, err := store.Derivations(w.local).LoadDerivation(ctx, paths[i%6].Base())
			if err != nil {
				return
			}
			d, err := derivation.ParseAt(paths[i%6].Base(), text)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = s.BuildDerivation(ctx, paths[i%6].Base(), d, store.BuildNormal)
		})
	}
	calls.Wait()
	if n := w.now.Load(); n != 0 {
		t.Errorf("%d builds run", n)
	}
	// Two builds run at once again.
	both := make(chan struct{}, 2)
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		both <- struct{}{}
		for len(both) < 2 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(w.derive("a")), out(w.derive("b"))}, store.BuildNormal); err != nil {
		t.Error(err)
	}
}

// A second call with the derivation of one that fails for another reason than the derivation, or is cancelled, builds it.
func TestSecondCallBuilds(t *testing.T) {
	for _, first := range []string{"fails", "is cancelled", "panics"} {
		w := newWorld(t)
		drv := w.derive("same")
		ctx, cancel := context.WithCancel(t.Context())
		begun, release := make(chan struct{}), make(chan struct{})
		var n atomic.Int32
		w.build = func(ctx context.Context, name string) *store.BuildResult {
			if n.Add(1) > 1 {
				return nil
			}
			close(begun)
			<-release
			switch first {
			case "fails":
				return &store.BuildResult{Status: store.TransientFailure, Message: "broken"}
			case "panics":
				panic("executor")
			}
			cancel()
			return nil
		}
		s := w.store()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_ = s.BuildPaths(ctx, []derivation.DerivedPath{out(drv)}, store.BuildNormal)
		}()
		<-begun
		second := make(chan error)
		go func() {
			second <- s.BuildPaths(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal)
		}()
		time.Sleep(20 * time.Millisecond)
		close(release)
		select {
		case err := <-second:
			if err != nil {
				t.Errorf("the first call %s: %v", first, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("the first call %s: the second one hangs", first)
		}
		<-done
		cancel()
	}
}

// write replaces the file of a derivation, as a broken disk does.
func (w *world) write(drv storepath.Path, text string) {
	w.t.Helper()
	file := w.local.ObjectFile(drv)
	if err := errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// Damaged derivations, also such as need each other in a circle, are errors, and derivations that are gone failures. No call hangs.
func TestDamagedDerivations(t *testing.T) {
	w := newWorld(t)
	low := w.derive("low")
	top := w.derive("top", low)
	read := func(drv storepath.Path) string {
		text, err := store.Derivations(w.local).LoadDerivation(t.Context(), drv)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	lowText, topText := read(low), read(top)
	circle := strings.Replace(lowText, "[],[],", `[("`+string(top)+`",["out"])],[],`, 1)
	if circle == lowText {
		t.Fatal(lowText)
	}
	for what, text := range map[string]string{"circle": circle, "empty": "", "cut": lowText[:len(lowText)/2], "other": topText, "self": strings.Replace(lowText, "[],[],", `[("`+string(low)+`",["out"])],[],`, 1)} {
		w.write(low, text)
		for _, drv := range []storepath.Path{top, low} {
			for _, mode := range []store.BuildMode{store.BuildNormal, store.BuildRepair, store.BuildCheck} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				results, err := w.store().BuildPathsWithResults(ctx, []derivation.DerivedPath{out(drv)}, mode)
				if ctx.Err() != nil {
					t.Fatalf("%s: building %s hangs", what, drv.Name())
				}
				cancel()
				if err == nil && (len(results) != 1 || results[0].Status.Succeeded()) {
					t.Errorf("%s: %s: %+v", what, drv.Name(), results)
				}
				t.Logf("%s %s mode %d: %v %v", what, drv.Name(), mode, results, err)
			}
		}
	}
	if err := os.Remove(w.local.ObjectFile(low)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results, err := w.store().BuildPathsWithResults(ctx, []derivation.DerivedPath{out(top)}, store.BuildNormal)
	t.Logf("gone: %v %v", results, err)
	if err == nil && (len(results) != 1 || results[0].Status.Succeeded()) || ctx.Err() != nil {
		t.Errorf("gone: %+v, %v", results, err)
	}
	if len(w.built) > 0 {
		t.Errorf("built %q", w.built)
	}
}

// An output whose derivation has outputs, some of them valid, is built when another one is wanted.
func TestSomeOutputsAreValid(t *testing.T) {
	w := newWorld(t)
	drv := w.derive("multi")
	outputs, err := store.OutputMap(t.Context(), w.local, drv)
	if err != nil {
		t.Fatal(err)
	}
	addObject(t, w.local, outputs["out"], "multi out")
	all := derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}
	results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Status != store.AlreadyValid || len(w.built) != 0 {
		t.Errorf("the valid output: %+v, %v, built %q", results, err, w.built)
	}
	results, err = w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{all}, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Status != store.Built || len(results[0].Outputs) != 2 {
		t.Errorf("all outputs: %+v, %v, built %q", results, err, w.built)
	}
}

// An output that a derivation does not have is an error before anything is built.
func TestUnknownOutput(t *testing.T) {
	w := newWorld(t)
	drv := w.derive("a", w.derive("low"))
	for _, outputs := range [][]string{{"nope"}, {"out", "nope"}} {
		_, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{
			derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.NamedOutputs(outputs...)},
		}, store.BuildNormal)
		if err == nil || !strings.Contains(err.Error(), "does not have output 'nope'") || len(w.built) > 0 {
			t.Errorf("%q: %v, built %q", outputs, err, w.built)
		}
	}
}

// The input sources of a derivation that is not in the store are kept from collectors. If they are missing, they are substituted, or
// the build fails like one with a failed dependency.
func TestInputSourcesOfDerivation(t *testing.T) {
	w := newWorld(t)
	source, err := w.local.AddTextToStore(t.Context(), "source", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	missing, err := storepath.DefaultDir.ParseBase(strings.Repeat("0", 32) + "-missing")
	if err != nil {
		t.Fatal(err)
	}
	d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	d.InputSources = derivation.SetOf(source)
	build := func(want store.BuildStatus) {
		t.Helper()
		if err := d.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		path, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.store().Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w.build = func(ctx context.Context, _ string) *store.BuildResult {
			gc := w.local
			result, err := gc.CollectGarbage(ctx, store.GCOptions{Action: store.GCReturnDead})
			if err != nil {
				t.Error(err)
			}
			for _, p := range result.Paths {
				if p == string(source) {
					t.Error("a collector may delete an input source during the build")
				}
			}
			return nil
		}
		result, err := s.(*realise.Store).BuildDerivation(t.Context(), path, d, store.BuildNormal)
		if err != nil || result.Status != want {
			t.Errorf("%+v, %v", result, err)
		}
	}
	build(store.Built)
	d.InputSources = derivation.SetOf(source, missing)
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	build(store.DependencyFailed)
}

// Calls of one client, however many, leave slots to builds of another client.
func TestFairClients(t *testing.T) {
	w := newWorld(t)
	w.jobs, w.slots = 1, realise.NewSlots(2)
	busy := &busyBuilds{release: make(chan struct{})}
	w.build = busy.build
	var drvs []derivation.DerivedPath
	for i := range 50 {
		drvs = append(drvs, out(w.derive(fmt.Sprint("many", i))))
	}
	single := out(w.derive("single"))
	s := w.store()
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), clientKey{}, "busy"))
	var calls sync.WaitGroup
	for _, drv := range drvs {
		calls.Go(func() { _ = s.BuildPaths(ctx, []derivation.DerivedPath{drv}, store.BuildNormal) })
	}
	waitUntil(t, func() bool { return w.slots.Waiting("busy") == len(drvs)-2 })
	ended := make(chan error, 1)
	go func() {
		ended <- s.BuildPaths(context.WithValue(t.Context(), clientKey{}, "other"), []derivation.DerivedPath{single}, store.BuildNormal)
	}()
	waitUntil(t, func() bool { return w.slots.Waiting("other") == 1 })
	if n := busy.endUntilSingle(t); n > 2 {
		t.Errorf("%d builds of another client ended before the only one of this client", n)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	cancel()
	calls.Wait()
}
