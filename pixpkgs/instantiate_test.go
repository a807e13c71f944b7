package pixpkgs_test

import (
	"context"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Instantiate adds the whole closure under the paths of the packages, and builds nothing.
func TestInstantiate(t *testing.T) {
	all := thousands(t, 300)
	s := memstore.New(&memstore.Options{Build: func(_ context.Context, _ *memstore.Store, path storepath.Path, _ *derivation.Derivation) error {
		t.Errorf("%s is built", path)
		return nil
	}})
	roots := all[len(all)-50:]
	for range 2 { // the second time, all of them are valid
		if err := pixpkgs.Instantiate(t.Context(), s, roots...); err != nil {
			t.Fatal(err)
		}
	}
	needed := map[storepath.Path]*pixpkgs.Package{}
	var add func(p *pixpkgs.Package)
	add = func(p *pixpkgs.Package) {
		if needed[p.DrvPath()] == nil {
			needed[p.DrvPath()] = p
			for _, dep := range p.Dependencies() {
				add(dep)
			}
		}
	}
	for _, p := range roots {
		add(p)
	}
	for path, p := range needed {
		d, err := store.ReadDerivation(t.Context(), s, path)
		if err != nil {
			t.Fatal(err)
		}
		if d.String() != p.Derivation().String() {
			t.Errorf("the store has another text at %s", path)
		}
	}
	valid, err := s.QueryAllValidPaths(t.Context())
	if err != nil || len(valid) != len(needed) {
		t.Errorf("%d paths are valid instead of %d, %v", len(valid), len(needed), err)
	}
	if err := pixpkgs.Instantiate(t.Context(), s, nil); err == nil {
		t.Error("a nil package is accepted")
	}
}
