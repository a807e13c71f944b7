package realise_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
	"pix/storepath"
)

// A yielder is a world in which some builds yield derivations.
type yielder struct {
	*world
	texts map[string]func() (text string, references []storepath.Path) // by the name of the derivation
	drvs  map[string]storepath.Path
	begun func(ctx context.Context, name string) // called before each build
}

func newYielder(t *testing.T) *yielder {
	y := &yielder{newWorld(t), make(map[string]func() (string, []storepath.Path)), make(map[string]storepath.Path), nil}
	y.build = func(ctx context.Context, name string) *store.BuildResult {
		if y.begun != nil {
			y.begun(ctx, name)
		}
		yield := y.texts[name]
		if yield == nil || ctx.Err() != nil {
			return nil
		}
		text, references := yield()
		path, err := y.local.AddTextToStore(ctx, name, text, references)
		if err == nil {
			err = store.RegisterRealisation(ctx, y.local, store.KeyedRealisation{
				ID: store.DrvOutput{Path: y.drvs[name], Output: "out"}, Realisation: store.Realisation{OutPath: path}})
		}
		if err != nil {
			return &store.BuildResult{Status: store.OutputRejected, Message: err.Error()}
		}
		y.mu.Lock()
		defer y.mu.Unlock()
		y.built = append(y.built, name)
		return &store.BuildResult{Status: store.Built, Outputs: map[string]store.Realisation{"out": {OutPath: path}}}
	}
	return y
}

// producer adds a derivation whose output is a text, which is another derivation.
func (y *yielder) producer(name string, yield func() (text string, references []storepath.Path)) storepath.Path {
	y.t.Helper()
	return y.textOf(name+".drv", yield)
}

// textOf adds a derivation whose output is a text.
func (y *yielder) textOf(name string, yield func() (text string, references []storepath.Path)) storepath.Path {
	y.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.Text, nixhash.SHA256))
	d.Env.Set("name", name)
	d.Env.Set("out", string(storepath.OwnPlaceholder("out")))
	y.addDerivation(d)
	drv, err := d.Path()
	if err != nil {
		y.t.Fatal(err)
	}
	y.texts[name], y.drvs[name] = yield, drv
	return drv
}

// copies yields the text of a derivation of the store.
func (y *yielder) copies(drv storepath.Path) func() (string, []storepath.Path) {
	return func() (string, []storepath.Path) {
		text, err := store.Derivations(y.local).LoadDerivation(context.Background(), drv)
		if err != nil {
			y.t.Error(err)
			return "", nil
		}
		d, err := derivation.ParseAt(drv, text)
		if err != nil {
			y.t.Error(err)
			return "", nil
		}
		return strings.Clone(text), d.References().Slice()
	}
}

// dynamicOf returns a derivation with the output out, which uses the outputs of outputs of others. Its variable input has the
// placeholder of the last one.
func (y *yielder) dynamicOf(name string, inputs map[storepath.Path]derivation.InputOutputs) (*derivation.Derivation, storepath.Path) {
	y.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	for input, used := range inputs {
		d.InputDerivations.Set(input, used)
		placeholder, err := storepath.OutputPlaceholder(input, "out")
		for err == nil && used.Dynamic.Len() > 0 {
			placeholder, err = placeholder.Output("out")
			used, _ = used.Dynamic.Get("out")
		}
		if err != nil {
			y.t.Fatal(err)
		}
		d.Env.Set("input", string(placeholder))
	}
	path, err := d.Path()
	if err != nil {
		y.t.Fatal(err)
	}
	return d, path
}

// addDerivation adds a derivation to the store.
func (y *yielder) addDerivation(d *derivation.Derivation) {
	y.t.Helper()
	if _, err := y.local.AddTextToStore(y.t.Context(), d.Name+".drv", d.String(), d.References().Slice()); err != nil {
		y.t.Fatal(err)
	}
}

// usesOut returns the used outputs of an input that use the output out of a derivation that is an output, depth times.
func usesOut(depth int) derivation.InputOutputs {
	used := derivation.OutputsOf("out")
	for range depth {
		var outer derivation.InputOutputs
		outer.Dynamic.Set("out", used)
		used = outer
	}
	return used
}

// outOf returns the output out of a derivation that is an output, depth times.
func outOf(drv storepath.Path, depth int) derivation.Built {
	var single derivation.SingleDerivedPath = derivation.Opaque{Path: drv}
	for range depth {
		single = derivation.SingleBuilt{Drv: single, Output: "out"}
	}
	return derivation.Built{Drv: single, Outputs: derivation.NamedOutputs("out")}
}

// buildResults builds paths within a few seconds.
func (y *yielder) buildResults(paths ...derivation.DerivedPath) ([]store.KeyedBuildResult, error) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), time.Minute)
	defer cancel()
	results, err := y.store().BuildPathsWithResults(ctx, paths, store.BuildNormal)
	if ctx.Err() != nil {
		y.t.Fatal("the build hangs")
	}
	return results, err
}

// An output that is a derivation is built, and then its outputs. A second call builds nothing.
func TestDynamic(t *testing.T) {
	y := newYielder(t)
	inner := y.derive("inner", y.derive("low"))
	producer := y.producer("inner", y.copies(inner))
	second := y.producer("inner.drv", y.copies(producer))
	outputs, err := store.OutputMap(t.Context(), y.local, inner)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := store.DrvHash(t.Context(), y.local, inner)
	if err != nil {
		t.Fatal(err)
	}
	all := outOf(second, 2)
	all.Outputs = derivation.AllOutputs()
	for _, want := range []struct {
		status store.BuildStatus
		built  string
	}{{store.Built, "inner.drv.drv inner.drv low inner"}, {store.AlreadyValid, ""}} {
		y.built = nil
		results, err := y.buildResults(outOf(second, 2), all, out(inner))
		if err != nil || len(results) != 3 {
			t.Fatalf("%+v, %v", results, err)
		}
		for i, n := range []int{1, 2, 1} {
			r := results[i]
			statusOK := r.Status == want.status || r.Status == store.AlreadyValid // the call has built it for another path
			if !statusOK || len(r.Outputs) != n || r.Outputs["out"].OutPath != outputs["out"] || i < 2 && r.DrvHash != hash {
				t.Errorf("%s: %+v", r.Path, r)
			}
		}
		slices.Sort(y.built)
		if got := strings.Fields(want.built); !slices.Equal(y.built, slices.Sorted(slices.Values(got))) {
			t.Errorf("built %q, want %q", y.built, got)
		}
	}
}

// A derivation that uses outputs of dynamic derivations is built with their paths in place of the placeholders, and the
// plan names what it does not know.
func TestDynamicInputs(t *testing.T) {
	y := newYielder(t)
	inner := y.derive("inner")
	producer := y.producer("inner", y.copies(inner))
	second := y.producer("inner.drv", y.copies(producer))
	for depth, drv := range map[int]storepath.Path{1: producer, 2: second} {
		d, path := y.dynamicOf(fmt.Sprint("user", depth), map[storepath.Path]derivation.InputOutputs{drv: usesOut(depth)})
		y.addDerivation(d)
		missing, err := store.QueryMissing(t.Context(), y.local, []derivation.DerivedPath{out(path), outOf(path, 1)})
		if err != nil || !slices.Equal(missing.WillBuild, []storepath.Path{path}) || len(missing.Dynamic) != 2 ||
			missing.Dynamic[0].String() != outOf(path, 1).String() && missing.Dynamic[1].String() != outOf(path, 1).String() {
			t.Errorf("%+v, %v", missing, err)
		}
		var input string
		y.inspect = func(d *derivation.Derivation) {
			if strings.HasPrefix(d.Name, "user") {
				input, _ = d.Env.Get("input")
			}
		}
		results, err := y.buildResults(out(path))
		if err != nil || len(results) != 1 || results[0].Status != store.Built {
			t.Fatalf("%+v, %v", results, err)
		}
		outputs, err := store.OutputMap(t.Context(), y.local, inner)
		if err != nil || input != string(outputs["out"]) {
			t.Errorf("input %q, outputs %v, %v", input, outputs, err)
		}
		results, err = y.buildResults(out(path))
		if err != nil || results[0].Status != store.AlreadyValid {
			t.Errorf("again: %+v, %v", results, err)
		}
	}
}

// Failures have the statuses and texts of Nix, at each step. With keep-going the other paths are built.
func TestDynamicFailures(t *testing.T) {
	y := newYielder(t)
	y.keep = true
	ofBroken := y.producer("broken", y.copies(y.derive("broken")))
	producer := y.producer("inner", y.copies(y.derive("inner")))
	fails := y.producer("fails", nil)
	garbage := y.producer("garbage", func() (string, []storepath.Path) { return "no derivation", nil })
	build := y.build
	y.build = func(ctx context.Context, name string) *store.BuildResult {
		if name == "broken" || name == "fails.drv" {
			return &store.BuildResult{Status: store.PermanentFailure, Message: name + " is broken"}
		}
		return build(ctx, name)
	}
	d, user := y.dynamicOf("user", map[storepath.Path]derivation.InputOutputs{fails: usesOut(1)})
	y.addDerivation(d)
	var logged []string
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok && !strings.HasPrefix(l.Text, "warning: Ignoring") {
			logged = append(logged, l.Text)
		}
	}))
	paths := []derivation.DerivedPath{outOf(ofBroken, 1), outOf(fails, 1), outOf(fails, 2), outOf(garbage, 1), outOf(producer, 1), out(user)}
	results, err := y.store().BuildPathsWithResults(ctx, paths, store.BuildNormal)
	if err != nil || len(results) != len(paths) {
		t.Fatalf("%+v, %v", results, err)
	}
	for i, want := range []store.BuildResult{
		{Status: store.PermanentFailure, Message: "broken is broken"},
		{Status: store.DependencyFailed, Message: fmt.Sprintf("failed to obtain derivation of '%s^out'", fails)},
		{Status: store.DependencyFailed, Message: fmt.Sprintf("failed to obtain derivation of '%s^out^out'", fails)},
		{Status: store.DependencyFailed, Message: fmt.Sprintf("failed to obtain derivation of '%s^out'", garbage)},
		{Status: store.Built},
		{Status: store.DependencyFailed, Message: fmt.Sprintf("Cannot build '%s'.\nReason: 1 dependency failed.", user)},
	} {
		if r := results[i]; r.Status != want.Status || r.Message != want.Message {
			t.Errorf("%s: %+v, want %+v", paths[i], r.BuildResult, want)
		}
	}
	slices.Sort(logged)
	wantLogged := []string{"error: failed to obtain derivation of '" + string(fails) + "^out'", "error: fails.drv is broken"}
	if got := slices.DeleteFunc(logged, func(l string) bool { return strings.Contains(l, "garbage.drv") }); !slices.Equal(got, wantLogged) {
		t.Errorf("logged %q", got)
	}
}

// A name that an output does not have, and an output that is no derivation, are errors of the call.
func TestDynamicErrors(t *testing.T) {
	y := newYielder(t)
	inner := y.derive("inner")
	producer := y.producer("inner", y.copies(inner))
	plain := y.textOf("plain", func() (string, []storepath.Path) { return "text", nil })
	impure := y.deriveOne("inner.drv", derivation.ImpureOutput(storepath.Text, nixhash.SHA256))
	nope := outOf(producer, 1)
	nope.Outputs = derivation.NamedOutputs("nope")
	for path, want := range map[derivation.DerivedPath]string{
		&built{nope}:             fmt.Sprintf("derivation '%s' does not have output 'nope'", inner),
		&built{outOf(plain, 1)}:  "is not a valid derivation path",
		&built{outOf(impure, 1)}: fmt.Sprintf("cannot operate on output 'out' of the unbuilt derivation '%s'", impure),
		&built{derivation.Built{Drv: derivation.SingleBuilt{Drv: derivation.Opaque{Path: producer}, Output: "nope"}, Outputs: derivation.AllOutputs()}}: fmt.Sprintf("derivation '%s' does not have an output named 'nope'", producer),
	} {
		_, err := y.buildResults(path.(*built).Built)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// built makes a derived path comparable.
type built struct{ derivation.Built }

// Derivations that need each other in a circle, which a builder can make, are an error. No call hangs.
func TestDynamicCircles(t *testing.T) {
	for i := range 40 {
		y := newYielder(t)
		y.keep = i%2 == 0
		var text string
		var references []storepath.Path
		yield := func() (string, []storepath.Path) { return text, references }
		a := y.producer("a", yield)
		d, path := y.dynamicOf("a", map[storepath.Path]derivation.InputOutputs{a: usesOut(1)})
		if i%4 >= 2 { // with another derivation in between
			y.addDerivation(d)
			d, path = y.dynamicOf("a", map[storepath.Path]derivation.InputOutputs{path: derivation.OutputsOf("out"), y.derive("other"): derivation.OutputsOf("out")})
		}
		y.addDerivation(d)
		text, references = d.String(), d.References().Slice()
		paths := [][]derivation.DerivedPath{{out(path)}, {outOf(a, 1)}, {out(path), outOf(a, 1)}, {outOf(a, 1), out(path), out(y.derive("more"))}}
		_, err := y.buildResults(paths[i%len(paths)]...)
		if err == nil || !strings.Contains(err.Error(), "needs itself") {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

// Cancelling a call during any of its builds ends it, and nothing runs afterwards.
func TestDynamicCancelled(t *testing.T) {
	for step := range 4 {
		for _, depth := range []int{1, 2} {
			y := newYielder(t)
			producer := y.producer("inner", y.copies(y.derive("inner", y.derive("low"))))
			d, user := y.dynamicOf("user", map[storepath.Path]derivation.InputOutputs{producer: usesOut(1)})
			y.addDerivation(d)
			paths := []derivation.DerivedPath{out(user), outOf(producer, 1)}
			if depth == 2 {
				paths = []derivation.DerivedPath{outOf(y.producer("inner.drv", y.copies(producer)), 2)}
			}
			y.cancelledAt(step, paths...)
		}
	}
}

// cancelledAt cancels a call during one of its builds.
func (y *yielder) cancelledAt(step int, paths ...derivation.DerivedPath) {
	y.t.Helper()
	ctx, cancel := context.WithCancel(y.t.Context())
	defer cancel()
	var n atomic.Int32
	y.begun = func(ctx context.Context, name string) {
		if int(n.Add(1)) == step+1 {
			cancel()
			<-ctx.Done()
		}
	}
	done := make(chan error)
	go func() { done <- y.store().BuildPaths(ctx, paths, store.BuildNormal) }()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) || y.now.Load() != 0 {
			y.t.Errorf("step %d of %v: %v, %d builds run", step, paths, err, y.now.Load())
		}
	case <-time.After(time.Minute):
		y.t.Fatalf("step %d of %v: the call hangs", step, paths)
	}
}

// Derivations that nest outputs too deeply, or use too many, are errors and do not take much memory.
func TestDynamicLimits(t *testing.T) {
	y := newYielder(t)
	producer := y.producer("inner", y.copies(y.derive("inner")))
	var wide derivation.InputOutputs
	for i := range 70_000 {
		wide.Dynamic.Set(fmt.Sprintf("o%05d", i), derivation.OutputsOf("out"))
	}
	for name, used := range map[string]derivation.InputOutputs{"deep": usesOut(17), "deeper": usesOut(9000), "wide": wide} {
		d, _ := y.dynamicOf(name, nil)
		d.InputDerivations.Set(producer, used)
		path, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		y.addDerivation(d)
		if _, err := y.buildResults(out(path)); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without the experimental feature nothing is built.
func TestRequire(t *testing.T) {
	y := newYielder(t)
	producer := y.producer("inner", y.copies(y.derive("inner")))
	d, user := y.dynamicOf("user", map[storepath.Path]derivation.InputOutputs{producer: usesOut(1)})
	y.addDerivation(d)
	for path, want := range map[derivation.DerivedPath]string{
		&built{outOf(producer, 1)}:               fmt.Sprintf("dynamic-derivations: building output 'out' of '%s'", producer.Base()),
		&built{out(user).(derivation.Built)}:     "dynamic-derivations: derivation 'user', ATerm format version 'xp-dyn-drv'",
		&built{out(producer).(derivation.Built)}: "dynamic-derivations: text-hashed derivation output",
		&built{out(y.deriveOne("ca", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))).(derivation.Built)}:   "ca-derivations: ",
		&built{out(y.deriveOne("impure", derivation.ImpureOutput(storepath.NAR, nixhash.SHA256))).(derivation.Built)}: "impure-derivations: ",
	} {
		s := realise.New(y.local, &realise.Options{Settings: func(_ context.Context, s store.Store) (*realise.Settings, error) {
			return &realise.Settings{MaxJobs: 1, Executor: &executor{y.world, s}, Require: func(feature, reason string) error {
				return errors.New(feature + ": " + reason)
			}}, nil
		}})
		err := s.BuildPaths(t.Context(), []derivation.DerivedPath{path.(*built).Built}, store.BuildNormal)
		if err == nil || !strings.HasSuffix(err.Error(), want) || len(y.built) > 0 {
			t.Errorf("%s: %v, built %q", path, err, y.built)
		}
	}
}
