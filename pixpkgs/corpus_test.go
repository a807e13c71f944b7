package pixpkgs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/pixpkgs"
	"pix/storepath"
)

// unpackedCorpora has the corpora that tests have unpacked. TestMain removes it.
var unpackedCorpora string

func TestMain(m *testing.M) {
	code := m.Run()
	if unpackedCorpora != "" {
		os.RemoveAll(unpackedCorpora)
	}
	os.Exit(code)
}

// unpack unpacks a corpus, if no other test did, and returns its directory. Tests that run in parallel must
// not call it.
func unpack(t testing.TB, name string) string {
	t.Helper()
	archive := filepath.Join(testenv.Corpus(t), name+".tar.zst")
	if unpackedCorpora == "" {
		dir, err := os.MkdirTemp("", "corpora")
		if err != nil {
			t.Fatal(err)
		}
		unpackedCorpora = dir
	}
	folder := filepath.Join(unpackedCorpora, name)
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	if out, err := exec.Command("tar", "--zstd", "-xf", archive, "-C", unpackedCorpora).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return folder
}

// loadAll returns the closure of all derivations in a folder.
func loadAll(t testing.TB, folder string, dir storepath.Dir) *derivation.Closure {
	t.Helper()
	names, err := derivation.Directory(folder).Files()
	if err != nil {
		t.Fatal(err)
	}
	var roots []storepath.Path
	for _, name := range names {
		root, err := dir.ParseBase(name)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
	}
	c, err := derivation.LoadClosure(t.Context(), derivation.Directory(folder), roots, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Deriving every derivation of a real closure again results in the same paths.
func TestCorpora(t *testing.T) {
	for _, corpus := range []struct {
		name, folder string
		dir          storepath.Dir
	}{
		{"corepkgs", "../testdata/corepkgs", storepath.DefaultDir},
		{"corepkgs-aiohttp", "", storepath.DefaultDir},
		{"corepkgs-texlive", "", storepath.DefaultDir},
		{"guix-hello", "", "/gnu/store"},
		{"nix-features", "drvs", storepath.DefaultDir},
		{"nix-features", "built/drvs", storepath.DefaultDir},
	} {
		t.Run(corpus.name+corpus.folder, func(t *testing.T) {
			folder := corpus.folder
			if !strings.HasPrefix(folder, "..") {
				folder = filepath.Join(unpack(t, corpus.name), folder)
			}
			c := loadAll(t, folder, corpus.dir)
			packages, err := pixpkgs.FromDerivations(c)
			if err != nil {
				t.Fatal(err)
			}
			if len(packages) != c.Len() || c.Len() == 0 {
				t.Errorf("%d packages of %d derivations", len(packages), c.Len())
			}
			n := 0
			for path, p := range packages {
				n++
				checkSame(t, c, path, p, n%10 == 0 || len(packages) < 2000)
			}
		})
	}
}

// checkSame compares a package with its file. If twice is set, it derives the package again and
// compares that too.
func checkSame(t *testing.T, c *derivation.Closure, path storepath.Path, p *pixpkgs.Package, twice bool) {
	d, _ := c.Get(path)
	if p.DrvPath() != path || p.Derivation().String() != d.String() {
		t.Errorf("%s is derived as %s", path, p.DrvPath())
	}
	for name, o := range d.Outputs.All() {
		if got, err := p.OutputPath(name); err != nil || got != o.Path() && o.Kind() != derivation.Fixed {
			t.Errorf("%s: output %s is %s instead of %s, %v", path, name, got, o.Path(), err)
		}
	}
	if !twice {
		return
	}
	again, err := p.Override(func(*pixpkgs.Spec) {})
	if err != nil && !mayFail(d) {
		t.Errorf("%s cannot be derived again: %v", path, err)
	}
	if err == nil && again.DrvPath() != path {
		t.Errorf("%s is derived again as %s", path, again.DrvPath())
	}
}

// mayFail reports whether a derivation has no builder or no system, which a Spec requires.
func mayFail(d *derivation.Derivation) bool { return d.Builder == "" || d.Platform == "" }
