package pixpkgs_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

// written returns the packages as they are read from files.
func written(t *testing.T, packages ...*pixpkgs.Package) []*pixpkgs.Package {
	t.Helper()
	folder := t.TempDir()
	var roots []storepath.Path
	for _, p := range packages {
		roots = append(roots, p.DrvPath())
		if err := os.WriteFile(filepath.Join(folder, p.DrvPath().Base()), []byte(p.Derivation().String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := derivation.LoadClosure(t.Context(), derivation.Directory(folder), roots, nil)
	if err != nil {
		t.Fatal(err)
	}
	read, err := pixpkgs.FromDerivations(c)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*pixpkgs.Package, len(packages))
	for i, root := range roots {
		all[i] = read[root]
	}
	return all
}

// Structured attributes of a file can be overridden like the ones that were declared, and a package that a text in
// them mentions can be replaced. Their order of outputs is kept.
func TestStructuredFromDerivations(t *testing.T) {
	declare := func(d *pixpkgs.Package, version float64) *pixpkgs.Package {
		return mk(t, spec{Name: "s", Outputs: []string{"dev", "out"}, Args: list{"-c"}, Attrs: env{
			"version": version, "flags": list{"-O2", pixpkgs.Sprintf("-L%s/lib", d)}, "n": nil, "i": 1, "b": true,
		}})
	}
	other := mk(t, spec{Name: "other"})
	read := written(t, declare(dep(t), 1.5), dep(t))
	p, d := read[0], read[1]
	if !slices.Equal(p.Outputs(), []string{"dev", "out"}) {
		t.Errorf("the outputs are %q", p.Outputs())
	}
	changed, err := p.Override(func(s *pixpkgs.Spec) { s.Attrs.(env)["version"] = 2.5 })
	if want := declare(dep(t), 2.5); err != nil || changed.DrvPath() != want.DrvPath() {
		t.Errorf("%v, %v", changed, err)
	}
	replaced, err := p.Replace(d, other)
	if want := declare(other, 1.5); err != nil || replaced.DrvPath() != want.DrvPath() {
		t.Errorf("%v, %v", replaced, err)
	}
}

// An explicit false for structured attributes, which nixpkgs always writes, does not hide the other fields.
func TestFalseStructuredFromDerivations(t *testing.T) {
	declare := func(name string) *pixpkgs.Package {
		return mk(t, spec{Name: name, Env: env{"__structuredAttrs": false}})
	}
	renamed, err := written(t, declare("a"))[0].Override(func(s *pixpkgs.Spec) { s.Name = "b" })
	if err != nil || renamed.DrvPath() != declare("b").DrvPath() {
		t.Errorf("%v, %v", renamed, err)
	}
}
