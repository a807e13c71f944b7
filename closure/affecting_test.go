package closure

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// affectingGraph returns derivations by path: root needs lib and source, source is fixed and needs fetcher, and lib
// needs compiler, no output of unused, and an output of a dynamic derivation.
func affectingGraph(t *testing.T) (drvs map[storepath.Path]*derivation.Derivation, path func(name string) storepath.Path) {
	path = func(name string) storepath.Path {
		p, err := storepath.DefaultDir.ParseBase("00000000000000000000000000000000-" + name + ".drv")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	drvs = make(map[storepath.Path]*derivation.Derivation)
	for name, inputs := range map[string]string{"root": "ls", "lib": "c", "source": "f", "fetcher": "", "compiler": "", "unused": "", "dynamic": ""} {
		d := &derivation.Derivation{Dir: storepath.DefaultDir, Name: name, Platform: "x", Builder: "/bin/sh"}
		d.Outputs.Set("out", derivation.DeferredOutput())
		for _, letter := range inputs {
			input := map[rune]string{'l': "lib", 's': "source", 'f': "fetcher", 'c': "compiler"}[letter]
			d.InputDerivations.Set(path(input), derivation.OutputsOf("out"))
		}
		drvs[path(name)] = d
	}
	lib := drvs[path("lib")]
	lib.InputDerivations.Set(path("unused"), derivation.OutputsOf())
	var dynamic derivation.InputOutputs
	dynamic.Dynamic.Set("out", derivation.OutputsOf("out"))
	lib.InputDerivations.Set(path("dynamic"), dynamic)
	setFixed(t, drvs[path("source")], "contents")
	return drvs, path
}

func setFixed(t *testing.T, d *derivation.Derivation, contents string) {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte(contents)))
	if err != nil {
		t.Fatal(err)
	}
	path, err := storepath.DefaultDir.FixedOutputPath(d.Name, ca, storepath.References{})
	if err != nil {
		t.Fatal(err)
	}
	d.Outputs.Set("out", derivation.FixedOutput(ca, path))
}

// modulo returns the modulo hash of a derivation.
func modulo(t *testing.T, drvs map[storepath.Path]*derivation.Derivation, path storepath.Path) nixhash.Hash {
	t.Helper()
	var inputs derivation.InputHashes
	inputs = func(input storepath.Path) (derivation.ModuloHash, bool) {
		h, err := drvs[input].HashModulo(derivation.AsInput, inputs, nil)
		if err != nil {
			t.Fatal(err)
		}
		return h, true
	}
	h, err := drvs[path].HashModulo(derivation.ForOutputs, inputs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h.Hash
}

// A derivation affects another exactly if a change of it changes the modulo hash of the other.
func TestAffecting(t *testing.T) {
	drvs, path := affectingGraph(t)
	loader := derivation.LoaderFunc(func(_ context.Context, p storepath.Path) (string, error) { return drvs[p].String(), nil })
	all, err := derivation.LoadClosure(t.Context(), loader, []storepath.Path{path("root")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for target := range drvs {
		before := modulo(t, drvs, target)
		var want []storepath.Path
		for changed, d := range drvs {
			old := d.Clone()
			d.Env.Set("changed", "yes")
			if kind, _ := d.Kind(); kind == derivation.Fixed {
				setFixed(t, d, "other contents")
			}
			if modulo(t, drvs, target) != before {
				want = append(want, changed)
			}
			drvs[changed] = old
		}
		slices.Sort(want)
		got, err := Affecting(all, target)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q affect %s, %v, want %q", got, target.Name(), err, want)
		}
	}
	if got, _ := Affecting(all, path("root")); len(got) != 4 {
		t.Errorf("%q affect the root", got)
	}
	var missing *derivation.MissingInputError
	if _, err := Affecting(all, path("other")); !errors.As(err, &missing) || missing.Input != path("other") {
		t.Errorf("Affecting returned %v", err)
	}
}
