package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// wideDerivations returns two derivations with many inputs, which differ in a variable, and the texts of the inputs.
func wideDerivations(t *testing.T) (a, b *derivation.Derivation, texts map[storepath.Path]string) {
	t.Helper()
	texts = map[storepath.Path]string{}
	var both [2]*derivation.Derivation
	for side, version := range []string{"1", "2"} {
		var inputs []storepath.Path
		for i := range 200 {
			d := dependent(version)
			d.Name = fmt.Sprintf("input%d", i)
			path, err := d.Path()
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = d.String()
			inputs = append(inputs, path)
		}
		slices.Sort(inputs)
		both[side] = dependent("same", inputs...)
	}
	return both[0], both[1], texts
}

// The inputs of a level are loaded on several goroutines. A loaded closure replaces the loader. A limit, the end
// of the context and a panic reach the caller.
func TestDiffClosureOnGoroutines(t *testing.T) {
	a, b, texts := wideDerivations(t)
	all := fromMap(texts)
	want := describe(diffClosure(t, a, all, b, all, nil))
	var inputs [2]*derivation.Closure
	for side, d := range []*derivation.Derivation{a, b} {
		var err error
		roots := slices.Collect(d.InputDerivations.Keys())
		if inputs[side], err = derivation.LoadClosure(t.Context(), all, roots, nil); err != nil {
			t.Fatal(err)
		}
	}
	none := fromMap(nil)
	if got := describe(diffClosure(t, a, none, b, none, &derivation.DiffOptions{LoadedA: inputs[0], LoadedB: inputs[1]})); got != want {
		t.Errorf("with loaded inputs: %s\nwant %s", got, want)
	}
	limits := &derivation.DiffOptions{Limits: &derivation.Limits{Paths: 100}}
	if _, err := derivation.DiffClosure(t.Context(), a, all, b, all, limits); !errors.As(err, new(*derivation.LimitError)) {
		t.Errorf("a limit: %v", err)
	}
	ended := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	var loaded atomic.Int64
	last := derivation.LoaderFunc(func(ctx context.Context, path storepath.Path) (string, error) {
		if loaded.Add(1) == 50 {
			cancel(ended)
		}
		return all.LoadDerivation(ctx, path)
	})
	if _, err := derivation.DiffClosure(ctx, a, last, b, last, nil); !errors.Is(err, ended) {
		t.Errorf("an ended context: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic of the loader was lost")
		}
	}()
	bad := derivation.LoaderFunc(func(context.Context, storepath.Path) (string, error) { panic("no") })
	_, err := derivation.DiffClosure(t.Context(), a, bad, b, bad, nil)
	t.Errorf("after a panic: %v", err)
}

func diffClosure(t *testing.T, a *derivation.Derivation, loadA derivation.Loader, b *derivation.Derivation, loadB derivation.Loader, o *derivation.DiffOptions) *derivation.Difference {
	t.Helper()
	d, err := derivation.DiffClosure(t.Context(), a, loadA, b, loadB, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Inputs) != 200 || d.Inputs[0].Difference == nil || len(d.Causes()) == 0 {
		t.Fatalf("%d inputs, %d causes", len(d.Inputs), len(d.Causes()))
	}
	return d
}
