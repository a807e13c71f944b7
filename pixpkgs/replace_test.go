package pixpkgs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/store/memstore"
	"pix/storepath"
)

// Replacing a leaf of a real closure changes exactly the packages that depend on it, and none of them
// mentions the old one. Replacing it back results in the old paths.
func TestReplaceInCorpus(t *testing.T) {
	c := loadAll(t, unpack(t, "corepkgs-aiohttp"), storepath.DefaultDir)
	packages, err := pixpkgs.FromDerivations(c)
	if err != nil {
		t.Fatal(err)
	}
	leaf, above := leafOf(c, packages)
	changed, err := leaf.Override(func(s *pixpkgs.Spec) { s.Env["changed"] = true })
	if err != nil {
		t.Fatal(err)
	}
	for path, p := range packages {
		after, err := p.Replace(leaf, changed)
		if err != nil {
			t.Fatal(err)
		}
		if same := after == p; same == above[path] {
			t.Errorf("%s depends on %s: %v; has changed: %v", path, leaf.DrvPath(), above[path], !same)
		}
		if text := after.Derivation().String(); above[path] && strings.Contains(text, leaf.DrvPath().HashPart()) {
			t.Errorf("%s mentions the old leaf", after.DrvPath())
		}
	}
	top := packages[lastOf(c)]
	after, err := top.Replace(leaf, changed)
	if err != nil {
		t.Fatal(err)
	}
	back, err := after.Replace(changed, leaf)
	if err != nil || back.DrvPath() != top.DrvPath() {
		t.Errorf("%s, want %s, %v", back.DrvPath(), top.DrvPath(), err)
	}
}

// leafOf returns the input-addressed package with the most dependents, and the paths of the dependents,
// including itself.
func leafOf(c *derivation.Closure, packages map[storepath.Path]*pixpkgs.Package) (leaf *pixpkgs.Package, above map[storepath.Path]bool) {
	for path, d := range c.All() {
		kind, err := d.Kind()
		if err != nil || kind != derivation.InputAddressed {
			continue
		}
		if all := allAbove(c, path); len(all) > len(above) {
			leaf, above = packages[path], all
		}
	}
	return leaf, above
}

func allAbove(c *derivation.Closure, root storepath.Path) map[storepath.Path]bool {
	above := map[storepath.Path]bool{root: true}
	for path, d := range c.All() {
		for input := range d.InputDerivations.Keys() {
			above[path] = above[path] || above[input]
		}
		if !above[path] {
			delete(above, path)
		}
	}
	return above
}

func lastOf(c *derivation.Closure) (last storepath.Path) {
	for path := range c.All() {
		last = path
	}
	return last
}

// Override derives only dependents again. All other packages are not only equal, but the same.
func TestReplaceKeepsTheRest(t *testing.T) {
	a, b := mk(t, spec{Name: "a", Outputs: []string{"out", "dev"}}), mk(t, spec{Name: "b"})
	onA := mk(t, spec{Name: "on-a", Args: list{a.Out("dev"), fmt.Sprint(a)}, Deps: list{a}})
	onB := mk(t, spec{Name: "on-b", Args: list{b}})
	top := mk(t, spec{Name: "top", Args: list{onA, onB}})
	a2, err := a.Override(func(s *pixpkgs.Spec) { s.Env["v"] = 2 })
	if err != nil {
		t.Fatal(err)
	}
	after, err := top.Replace(a, a2)
	if err != nil {
		t.Fatal(err)
	}
	want := mk(t, spec{Name: "top", Args: list{mk(t, spec{Name: "on-a", Args: list{a2.Out("dev"), a2}}), onB}})
	if after.DrvPath() != want.DrvPath() {
		t.Errorf("%s instead of %s", after.Derivation(), want.Derivation())
	}
	for _, dep := range after.Dependencies() {
		if dep.Name() == "on-b" && dep != onB {
			t.Error("on-b was derived again")
		}
	}
	// Using an output that the replacement does not have is an error.
	single, err := a.Override(func(s *pixpkgs.Spec) { s.Outputs = nil })
	if err != nil {
		t.Fatal(err)
	}
	var e *pixpkgs.OutputError
	if _, err := top.Replace(a, single); !errors.As(err, &e) || e.Output != "dev" || !strings.Contains(err.Error(), `"on-a"`) {
		t.Errorf("an output that does not exist any more: %v", err)
	}
}

// Without mentions, pixpkgs.Sprintf returns the same text as fmt.Sprintf.
func TestSprintf(t *testing.T) {
	args := []any{"text", 42, 1.5, []string{"a"}, nil}
	for _, format := range []string{"", "%s", "%s %d %.2f %v %v", "%5d|%-6s", "%[2]d %[1]q", "100%%", "%!", "%s"} {
		if got, want := pixpkgs.Sprintf(format, args...).String(), fmt.Sprintf(format, args...); got != want {
			t.Errorf("%q is %q, but %q in package fmt", format, got, want)
		}
	}
	a := mk(t, spec{Name: "a"})
	for _, format := range []string{"%s", "x%vy", "%[1]s:%[1]v"} {
		if got, want := pixpkgs.Sprintf(format, a).String(), fmt.Sprintf(format, a); got != want {
			t.Errorf("%q is %q, but %q in package fmt", format, got, want)
		}
	}
}

// Realize works with any store that can build, such as one in memory.
func TestRealizeInMemory(t *testing.T) {
	var built []string
	s := memstore.New(&memstore.Options{Build: func(ctx context.Context, s *memstore.Store, path storepath.Path, d *derivation.Derivation) error {
		built = append(built, d.Name)
		return errors.New("this builder builds nothing")
	}})
	source := text(t, "source", "text")
	below := mk(t, spec{Name: "below", Args: list{source}})
	above := mk(t, spec{Name: "above", Args: list{below}})
	_, err := pixpkgs.Realize(t.Context(), s, above)
	if err == nil || !strings.Contains(err.Error(), "builds nothing") {
		t.Errorf("the build ended with %v", err)
	}
	if len(built) != 1 || built[0] != "above" {
		t.Errorf("the store was asked to build %q", built)
	}
	for _, path := range []storepath.Path{source.StorePath(), below.DrvPath(), above.DrvPath()} {
		if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Errorf("%s is not in the store, %v", path, err)
		}
	}
}
