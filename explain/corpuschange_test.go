package explain_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
	"pix/storepath"
)

// A changedClosure is a closure of real derivations in which one is changed. Everything that depends on it has other paths.
type changedClosure struct {
	t     *testing.T
	old   texts
	added fakePackages                   // the derivations with other paths, beside the old ones
	drvs  map[storepath.Path]explain.Drv // by the old path
	// paths are pairs of an old path and the one that replaces it, by derivation: several fixed derivations may have the same output.
	paths  map[storepath.Path][]string
	hashes map[storepath.Path]derivation.ModuloHash
}

// newChangedClosure gives the derivation changed another variable, or other contents if its output is fixed.
func newChangedClosure(t *testing.T, old texts, order []storepath.Path, changed storepath.Path) *changedClosure {
	t.Helper()
	c := &changedClosure{
		t: t, old: old, added: fakePackages{t, maps.Clone(old)},
		drvs: map[storepath.Path]explain.Drv{}, paths: map[storepath.Path][]string{}, hashes: map[storepath.Path]derivation.ModuloHash{},
	}
	for _, path := range order { // inputs come first
		d := parseDrv(t, path, old[path])
		var paths []string
		for input := range d.InputDerivations.Keys() {
			paths = append(paths, c.paths[input]...)
		}
		if len(paths) > 0 || path == changed {
			d = c.add(path, strings.NewReplacer(paths...).Replace(old[path]), path == changed)
		}
		hash, err := d.HashModulo(derivation.AsInput, c.inputHash, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.hashes[path] = hash
		if drv, ok := c.drvs[path]; ok {
			c.hashes[drv.Path] = hash
		}
	}
	return c
}

// inputHash is the [derivation.InputHashes] of the old and the new derivations.
func (c *changedClosure) inputHash(path storepath.Path) (derivation.ModuloHash, bool) {
	hash, ok := c.hashes[path]
	return hash, ok
}

// add adds the derivation that replaces path.
func (c *changedClosure) add(path storepath.Path, text string, changed bool) *derivation.Derivation {
	c.t.Helper()
	before := parseDrv(c.t, path, text)
	d := parseDrv(c.t, path, text)
	kind, err := d.Kind()
	if err != nil {
		c.t.Fatal(err)
	}
	switch {
	case kind == derivation.InputAddressed:
		for output := range before.Outputs.All() {
			d.Outputs.Set(output, derivation.DeferredOutput())
			d.Env.Set(output, "")
		}
		if changed {
			d.Env.Set("changed", "1")
		}
	case kind == derivation.Fixed && changed:
		c.changeContents(d)
	}
	if err := d.FillOutputPaths(c.inputHash, nil); err != nil {
		c.t.Fatal(err)
	}
	drv := c.added.store(d)
	c.drvs[path] = drv
	c.paths[path] = []string{string(path), string(drv.Path)}
	for output, o := range before.Outputs.All() {
		if after, _ := d.Outputs.Get(output); o.Path() != after.Path() {
			c.paths[path] = append(c.paths[path], string(o.Path()), string(after.Path()))
		}
	}
	return d
}

// changeContents gives a derivation with a fixed output other contents.
func (c *changedClosure) changeContents(d *derivation.Derivation) {
	c.t.Helper()
	name, o := d.Outputs.At(0)
	ca := o.ContentAddress()
	other, err := storepath.NewContentAddress(ca.Method(), nixhash.Sum(ca.Hash().Algorithm(), []byte("other contents")))
	if err != nil {
		c.t.Fatal(err)
	}
	d.Outputs.Set(name, derivation.FixedOutput(other, ""))
	d.Env.Set(name, "")
}

// parseDrv parses the text of a derivation, in which paths may be replaced.
func parseDrv(t *testing.T, path storepath.Path, text string) *derivation.Derivation {
	t.Helper()
	d, err := derivation.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	d.Name, d.Dir = strings.TrimSuffix(path.Name(), storepath.DerivationExt), path.Dir()
	return d
}

// inputsFirst returns the closure of root, in an order in which inputs come before the derivations that use them.
func inputsFirst(t *testing.T, drvs derivation.Directory, root storepath.Path) (all texts, order []storepath.Path) {
	t.Helper()
	all = texts{}
	var visit func(path storepath.Path)
	visit = func(path storepath.Path) {
		if _, seen := all[path]; seen {
			return
		}
		text, err := drvs.LoadDerivation(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = text
		for input := range parseDrv(t, path, text).InputDerivations.Keys() {
			visit(input)
		}
		order = append(order, path)
	}
	visit(root)
	return all, order
}

// In a real closure, one derivation is changed, and the paths of everything that depends on it. Exactly a derivation that --affects
// names changes the output paths of the root, and it is the only cause of the rebuild, at any distance.
func TestChangeInCorpus(t *testing.T) {
	changes := 12
	if os.Getenv("PIX_LONG") != "" {
		changes = 445
	}
	var dir derivation.Directory
	var root storepath.Path
	corpusDrvs(t, "corepkgs-aiohttp.tar.zst", "corepkgs-aiohttp", func(drvs derivation.Directory, path storepath.Path) {
		if strings.HasSuffix(string(path), "-aiohttp-3.13.2.drv") {
			dir, root = drvs, path
		}
	})
	old, order := inputsFirst(t, dir, root)
	before := explain.Drv{Path: root, Derivation: parseDrv(t, root, old[root]), Inputs: old}
	influence, err := explain.Affects(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(order))[:min(changes, len(order))] {
		changed := order[i]
		c := newChangedClosure(t, old, order, changed)
		affects := slices.Contains(influence.Affecting, changed)
		seen[affects]++
		c.check(before, c.drvs[root], changed, affects)
	}
	t.Logf("%d derivations; changes with and without effect: %d, %d", len(order), seen[true], seen[false])
	if seen[true] == 0 || seen[false] == 0 {
		t.Error("only one kind of change")
	}
}

// check compares the explanations of the root before and after the change.
func (c *changedClosure) check(before, after explain.Drv, changed storepath.Path, affects bool) {
	c.t.Helper()
	want := "variable changed of "
	if kind, err := parseDrv(c.t, changed, c.old[changed]).Kind(); err != nil {
		c.t.Fatal(err)
	} else if kind == derivation.Fixed {
		want = "output out of "
	}
	want += strings.TrimSuffix(changed.Name(), storepath.DerivationExt)
	r, err := explain.WhyRebuilt(c.t.Context(), before, after)
	if err != nil {
		c.t.Fatal(err)
	}
	if same := sameOutputs(before, after); same == affects || r.Same != same {
		c.t.Errorf("%s changed: the outputs of the root are equal: %v, WhyRebuilt: %v, --affects: %v", changed, same, r.Same, affects)
	}
	var causes []string
	for _, cause := range r.Causes {
		causes = append(causes, cause.String())
	}
	if affects && !slices.Equal(causes, []string{want}) {
		c.t.Errorf("%s changed: the causes are %q, want %q", changed, causes, want)
	}
}

// sameOutputs reports whether two derivations have the same output paths.
func sameOutputs(a, b explain.Drv) bool {
	for output, o := range a.Outputs.All() {
		if other, _ := b.Outputs.Get(output); o.Path() != other.Path() {
			return false
		}
	}
	return true
}
