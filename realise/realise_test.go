package realise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/derivation"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// A world is a store and an executor that adds the name of a derivation as each of its outputs.
type world struct {
	t            *testing.T
	local        *localstore.Store
	jobs         int
	keep         bool
	realisations bool
	slots        *realise.Slots

	mu    sync.Mutex
	built []string // the names of the derivations, in the order in which their builds ended

	now, most atomic.Int32 // builds that run now, and the largest number of those
	build     func(ctx context.Context, name string) *store.BuildResult
	inspect   func(*derivation.Derivation) // gets each derivation that is built

	after func(ctx context.Context, drv storepath.Path, outputs []storepath.Path) error
}

func newWorld(t *testing.T) *world {
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { local.Close() })
	return &world{t: t, local: local, jobs: 4}
}

func (w *world) store() *realise.Store { return w.storeOver(w.local) }

// storeOver is store over another store, which wraps w.local.
func (w *world) storeOver(s store.Store) *realise.Store {
	return realise.New(s, &realise.Options{Slots: w.slots, Settings: func(ctx context.Context, s store.Store) (*realise.Settings, error) {
		client, _ := ctx.Value(clientKey{}).(string)
		return &realise.Settings{Client: client, MaxJobs: w.jobs, KeepGoing: w.keep, Executor: &executor{w, s}, AfterBuild: w.after, Realisations: w.realisations}, nil
	}})
}

// clientKey is the key of the name of the client in a context.
type clientKey struct{}

type executor struct {
	*world
	store store.Store
}

func (e *executor) Build(ctx context.Context, req *builder.Request) (*store.BuildResult, error) {
	n := e.now.Add(1)
	defer e.now.Add(-1)
	for {
		if most := e.most.Load(); n <= most || e.most.CompareAndSwap(most, n) {
			break
		}
	}
	name := strings.TrimSuffix(req.Path.Name(), ".drv")
	if e.inspect != nil {
		e.inspect(req.Derivation)
	}
	for input, outputs := range req.Inputs {
		for output, path := range outputs {
			if valid, err := e.local.IsValidPath(ctx, path); err != nil || !valid {
				return nil, fmt.Errorf("%s: output %s of %s is not valid: %v", name, output, input, err)
			}
		}
	}
	if e.build != nil {
		if r := e.build(ctx, name); r != nil {
			return r, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	result := &store.BuildResult{Status: store.Built, Outputs: make(map[string]store.Realisation)}
	for output, o := range req.Derivation.Outputs.All() {
		path := o.Path()
		if path == "" { // it depends on the contents
			var err error
			if path, err = store.AddText(ctx, e.store, name, name+" "+output, nil); err != nil {
				return nil, err
			}
		} else {
			addObject(e.t, e.store, path, name+" "+output)
		}
		result.Outputs[output] = store.Realisation{OutPath: path}
	}
	e.mu.Lock()
	e.built = append(e.built, name)
	e.mu.Unlock()
	return result, nil
}

// dumpFile returns the archive of a file.
func dumpFile(t *testing.T, text string) []byte {
	var archive bytes.Buffer
	if err := nar.DumpFS(t.Context(), &archive, fstest.MapFS{"file": {Data: []byte(text), Mode: 0o644}}, "file", nil); err != nil {
		t.Error(err)
	}
	return archive.Bytes()
}

// addObject adds a file under a path.
func addObject(t *testing.T, s store.Store, path storepath.Path, text string) {
	archive := dumpFile(t, text)
	adder, _ := store.As[store.NARAdder](s)
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
	if err := adder.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Error(err)
	}
}

// derive adds a derivation with the outputs out and dev, which uses the output out of others.
func (w *world) derive(name string, inputs ...storepath.Path) storepath.Path {
	w.t.Helper()
	return w.deriveIn(w.local, name, inputs...)
}

// deriveIn is [world.derive] for another store.
func (w *world) deriveIn(s store.Store, name string, inputs ...storepath.Path) storepath.Path {
	w.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Outputs.Set("dev", derivation.DeferredOutput())
	d.Env.Set("out", "")
	d.Env.Set("dev", "")
	for _, input := range inputs {
		d.InputDerivations.Set(input, derivation.OutputsOf("out"))
	}
	loader := store.Derivations(s)
	closure, err := derivation.LoadClosure(w.t.Context(), loader, inputs, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	hashes, err := closure.InputHashes(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.FillOutputPaths(hashes, nil); err != nil {
		w.t.Fatal(err)
	}
	path, err := store.AddText(w.t.Context(), s, name+".drv", d.String(), d.References().Slice())
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

func out(drv storepath.Path) derivation.DerivedPath {
	return derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.NamedOutputs("out")}
}

// A diamond is built from below, each derivation once, and only its wanted outputs are in the result.
func TestDiamond(t *testing.T) {
	w := newWorld(t)
	low := w.derive("low")
	left, right := w.derive("left", low), w.derive("right", low)
	top := w.derive("top", left, right)
	s := w.store()
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top), out(low)}, store.BuildNormal)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Status != store.Built || results[1].Status != store.Built || len(results[0].Outputs) != 1 {
		t.Errorf("%+v", results)
	}
	if len(w.built) != 4 || w.built[0] != "low" || w.built[3] != "top" {
		t.Errorf("built %q", w.built)
	}
	results, err = s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err != nil || results[0].Status != store.AlreadyValid || len(w.built) != 4 {
		t.Errorf("again: %+v, %v", results, err)
	}
	_, err = s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: w.derive("other")}, Outputs: derivation.NamedOutputs("nope")},
	}, store.BuildNormal)
	if err == nil || !strings.Contains(err.Error(), "does not have output 'nope'") {
		t.Errorf("an unknown output: %v", err)
	}
}

// The call builds as many at once as its own max-jobs and the slots of all calls allow.
func TestSlots(t *testing.T) {
	for _, test := range []struct{ jobs, slots, want int }{{3, 8, 3}, {1, 8, 1}, {1, 1, 1}, {64, runtime.NumCPU(), runtime.NumCPU()}} {
		w := newWorld(t)
		w.jobs, w.slots = test.jobs, realise.NewSlots(test.slots)
		entered := make(chan struct{}, 100)
		release := make(chan struct{})
		w.build = func(ctx context.Context, name string) *store.BuildResult {
			entered <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil
		}
		var paths []derivation.DerivedPath
		for i := range 10 {
			paths = append(paths, out(w.derive(fmt.Sprint("drv", i))))
		}
		done := make(chan error)
		go func() { done <- w.store().BuildPaths(t.Context(), paths, store.BuildNormal) }()
		for range test.want {
			<-entered
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := int(w.most.Load()); got != test.want {
			t.Errorf("%d jobs and %d slots: %d builds at once", test.jobs, test.slots, got)
		}
	}
}

// With one slot the builds begin in the order of their names.
func TestOrder(t *testing.T) {
	for range 10 {
		w := newWorld(t)
		w.jobs = 1
		var paths []derivation.DerivedPath
		for _, name := range []string{"d", "b", "a", "e", "c"} {
			paths = append(paths, out(w.derive(name)))
		}
		if err := w.store().BuildPaths(t.Context(), paths, store.BuildNormal); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(w.built, ""); got != "abcde" {
			t.Fatalf("built %s", got)
		}
	}
}

func failing(names ...string) func(context.Context, string) *store.BuildResult {
	return func(_ context.Context, name string) *store.BuildResult {
		if slices.Contains(names, name) {
			return &store.BuildResult{Status: store.PermanentFailure, Message: name + " is broken"}
		}
		return nil
	}
}

// A failure of a dependency fails what depends on it, with the text of Nix, and is logged itself.
func TestDependencyFails(t *testing.T) {
	w := newWorld(t)
	w.build, w.keep = failing("low"), true
	low := w.derive("low")
	top, other := w.derive("top", low), w.derive("other")
	var logged []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok {
			logged = append(logged, l.Text)
		}
	}))
	results, err := w.store().BuildPathsWithResults(ctx, []derivation.DerivedPath{out(top), out(other)}, store.BuildNormal)
	if err != nil {
		t.Fatal(err)
	}
	paths, _ := store.OutputMap(ctx, w.local, top)
	want := fmt.Sprintf("Cannot build '%s'.\nReason: 1 dependency failed.\nOutput paths:\n  %s\n  %s", top, min(paths["out"], paths["dev"]), max(paths["out"], paths["dev"]))
	if results[0].Status != store.DependencyFailed || results[0].Message != want || results[1].Status != store.Built {
		t.Errorf("%+v", results)
	}
	if !slices.Equal(logged, []string{"error: low is broken"}) {
		t.Errorf("logged %q", logged)
	}
}

// Without keep-going a wanted derivation that fails stops the call, and what depends on it is not tried, as in Nix.
func TestWantedDependencyFails(t *testing.T) {
	w := newWorld(t)
	w.build = failing("low")
	low := w.derive("low")
	top := w.derive("top", low)
	results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top), out(low)}, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Message != "low is broken" {
		t.Errorf("%+v, %v", results, err)
	}
}

// Without keep-going a failure still fails everything that depends on it, however far away.
func TestFailureReachesDependents(t *testing.T) {
	w := newWorld(t)
	w.jobs = 2
	slowRuns := make(chan struct{})
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		switch name {
		case "slow":
			close(slowRuns)
			<-ctx.Done()
		case "low":
			<-slowRuns
		}
		return failing("low")(ctx, name)
	}
	low, slow := w.derive("low"), w.derive("slow")
	top := w.derive("top", w.derive("middle", low, slow), slow)
	results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Status != store.DependencyFailed || !strings.Contains(results[0].Message, "Reason: 1 dependency failed.") {
		t.Errorf("%+v, %v", results, err)
	}
}

// Without keep-going the first failure stops the builds that run, and the others are not tried.
func TestFirstFailureStops(t *testing.T) {
	w := newWorld(t)
	w.jobs = 2
	slowRuns := make(chan struct{})
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		switch name {
		case "slow":
			close(slowRuns)
			<-ctx.Done()
		case "bad":
			<-slowRuns
			return failing("bad")(ctx, name)
		}
		return nil
	}
	paths := []derivation.DerivedPath{out(w.derive("slow")), out(w.derive("bad"))}
	results, err := w.store().BuildPathsWithResults(t.Context(), paths, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Message != "bad is broken" {
		t.Errorf("%+v, %v", results, err)
	}
	slowRuns = make(chan struct{})
	err = w.store().BuildPaths(t.Context(), paths, store.BuildNormal)
	if _, ok := errors.AsType[*store.BuildError](err); !ok || !strings.Contains(err.Error(), "build of '") {
		t.Errorf("%v", err)
	}
}

// A cancelled call returns the cause, and no build goes on.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		cancel(cause)
		<-ctx.Done()
		return nil
	}
	err := w.store().BuildPaths(ctx, []derivation.DerivedPath{out(w.derive("a")), out(w.derive("b"))}, store.BuildNormal)
	if err != cause || w.now.Load() != 0 {
		t.Errorf("%v, %d builds run", err, w.now.Load())
	}
}

// Two calls that need the same derivation build it once, and the second one takes no slot meanwhile.
func TestTwoCalls(t *testing.T) {
	w := newWorld(t)
	w.slots = realise.NewSlots(2)
	drv, other := w.derive("same"), w.derive("other")
	runs, release := make(chan struct{}, 1), make(chan struct{})
	w.build = func(ctx context.Context, name string) *store.BuildResult {
		if name == "same" {
			select {
			case runs <- struct{}{}:
				<-release
			default: // the second call
				return &store.BuildResult{Status: store.AlreadyValid}
			}
		}
		return nil
	}
	s := w.store()
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- s.BuildPaths(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal) }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.BuildPaths(ctx, []derivation.DerivedPath{out(other)}, store.BuildNormal); err != nil {
		t.Errorf("the second slot is not free: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Log(err) // the executor of this test reports no outputs for the second call
		}
	}
	if n := len(w.built); n != 2 {
		t.Errorf("built %q", w.built)
	}
}

func TestNoJobs(t *testing.T) {
	w := newWorld(t)
	w.jobs = 0
	drv := w.derive("a")
	results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(drv)}, store.BuildNormal)
	if err != nil {
		t.Fatal(err)
	}
	want := "Cannot build '" + string(drv) + "'.\nReason: local builds are disabled (max-jobs = 0)\nHint: set 'max-jobs' to a non-zero value to enable local builds, or configure remote builders via 'builders'"
	if results[0].Status != store.InputRejected || results[0].Message != want {
		t.Errorf("%+v", results)
	}
}

// A panic of the executor reaches the caller.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	w.build = func(context.Context, string) *store.BuildResult { panic("executor") }
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	w.store().BuildPaths(t.Context(), []derivation.DerivedPath{out(w.derive("a"))}, store.BuildNormal)
}
