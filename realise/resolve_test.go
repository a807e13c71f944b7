package realise_test

import (
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// deriveOne adds a derivation with one output of that kind, which uses the output out of others.
func (w *world) deriveOne(name string, output derivation.Output, inputs ...storepath.Path) storepath.Path {
	w.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", output)
	value := string(output.Path())
	if kind := output.Kind(); kind == derivation.Floating || kind == derivation.Impure {
		value = string(storepath.OwnPlaceholder("out"))
	}
	d.Env.Set("out", value)
	for _, input := range inputs {
		d.InputDerivations.Set(input, derivation.OutputsOf("out"))
		placeholder, err := storepath.OutputPlaceholder(input, "out")
		if err != nil {
			w.t.Fatal(err)
		}
		d.Env.Set("input", string(placeholder))
	}
	path, err := w.local.AddTextToStore(w.t.Context(), name+".drv", d.String(), d.References().Slice())
	if err != nil {
		w.t.Fatal(err)
	}
	return path
}

// A derivation that needs an output whose path depends on contents is built with the path of that output in place of the
// input, and the store then knows the paths of both.
func TestResolve(t *testing.T) {
	w := newWorld(t)
	low := w.deriveOne("low", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	middle := w.deriveOne("middle", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256), low)
	top := w.deriveOne("top", derivation.DeferredOutput(), middle)
	var requests []*derivation.Derivation
	w.inspect = func(d *derivation.Derivation) { requests = append(requests, d) }
	s := w.store()
	results, err := s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err != nil || len(results) != 1 || results[0].Status != store.Built {
		t.Fatalf("%+v, %v", results, err)
	}
	if len(requests) != 3 {
		t.Fatalf("%d builds", len(requests))
	}
	for _, d := range requests[1:] {
		input, _ := d.Env.Get("input")
		if d.InputDerivations.Len() != 0 || d.InputSources.Len() != 1 || input != string(d.InputSources.At(0)) {
			t.Errorf("built %s", d)
		}
	}
	for drv, want := range map[storepath.Path]storepath.Path{middle: requests[2].InputSources.At(0), top: results[0].Outputs["out"].OutPath} {
		outputs, err := store.OutputMap(t.Context(), w.local, drv)
		if err != nil || outputs["out"] != want {
			t.Errorf("%s: %v, %v, want %s", drv, outputs, err, want)
		}
	}
	results, err = s.BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(top)}, store.BuildNormal)
	if err != nil || results[0].Status != store.AlreadyValid || len(requests) != 3 {
		t.Errorf("again: %+v, %v", results, err)
	}
}

// A derivation with a fixed output is resolved if the paths of all outputs are registered, as in Nix with the feature
// ca-derivations.
func TestResolveFixed(t *testing.T) {
	for _, registered := range []bool{false, true} {
		w := newWorld(t)
		w.realisations = registered
		low := w.derive("low")
		address, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("fixed")))
		if err != nil {
			t.Fatal(err)
		}
		path, err := storepath.DefaultDir.FixedOutputPath("fixed", address, storepath.References{})
		if err != nil {
			t.Fatal(err)
		}
		fixed := w.deriveOne("fixed", derivation.FixedOutput(address, path), low)
		inputs := -1
		w.inspect = func(d *derivation.Derivation) { inputs = d.InputDerivations.Len() }
		results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(fixed)}, store.BuildNormal)
		if err != nil || len(results) != 1 {
			t.Fatalf("%+v, %v", results, err)
		}
		if want := map[bool]int{false: 1, true: 0}[registered]; inputs != want {
			t.Errorf("registered %v: built with %d input derivations: %+v", registered, inputs, results[0])
		}
	}
}

// A derivation that is not impure must not need an impure one, because its outputs would change with every build.
func TestImpure(t *testing.T) {
	w := newWorld(t)
	impure := w.deriveOne("impure", derivation.ImpureOutput(storepath.NAR, nixhash.SHA256))
	for range 2 {
		results, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(impure)}, store.BuildNormal)
		if err != nil || results[0].Status != store.Built {
			t.Errorf("%+v, %v", results, err)
		}
	}
	if len(w.built) != 2 {
		t.Errorf("built %q", w.built)
	}
	pure := w.deriveOne("pure", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256), impure)
	_, err := w.store().BuildPathsWithResults(t.Context(), []derivation.DerivedPath{out(pure)}, store.BuildNormal)
	if err == nil || !strings.Contains(err.Error(), "pure derivation '"+string(pure)+"' depends on impure derivation '"+string(impure)+"'") {
		t.Errorf("%v", err)
	}
}
