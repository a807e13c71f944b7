package pixpkgs_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/pixpkgs"
	"pix/storepath"
)

type stdenvSpec = pixpkgs.StdenvSpec

// A nixpkgs is a closure of derivations that a nixpkgs created.
type nixpkgs struct {
	t        *testing.T
	packages map[storepath.Path]*pixpkgs.Package
	paths    []storepath.Path // of the derivations, and of their sources; sorted
}

// loadNixpkgs loads the closure of the derivations in a folder with those labels; see find.
func loadNixpkgs(t *testing.T, folder string, labels ...string) *nixpkgs {
	t.Helper()
	names, err := derivation.Directory(folder).Files()
	if err != nil {
		t.Fatal(err)
	}
	n := &nixpkgs{t: t}
	for _, name := range names {
		n.paths = append(n.paths, storepath.Path("/nix/store/"+name))
	}
	var roots []storepath.Path
	for _, label := range labels {
		roots = append(roots, n.find(label+".drv"))
	}
	c, err := derivation.LoadClosure(t.Context(), derivation.Directory(folder), roots, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.packages, err = pixpkgs.FromDerivations(c); err != nil {
		t.Fatal(err)
	}
	paths := map[storepath.Path]bool{}
	for path, d := range c.All() {
		paths[path] = true
		for source := range d.InputSources.All() {
			paths[source] = true
		}
	}
	n.paths = slices.Sorted(maps.Keys(paths))
	return n
}

// find returns the only path with a label: a name, or the start of a hash and a name, such as "8x4i:stdenv-linux".
func (n *nixpkgs) find(label string) storepath.Path {
	n.t.Helper()
	hash, name, ok := strings.Cut(label, ":")
	if !ok {
		hash, name = "", label
	}
	var found []storepath.Path
	for _, path := range n.paths {
		if path.Name() == name && strings.HasPrefix(path.HashPart(), hash) {
			found = append(found, path)
		}
	}
	if len(found) != 1 {
		n.t.Fatalf("the paths %q are %q", label, found)
	}
	return found[0]
}

func (n *nixpkgs) pkg(label string) *pixpkgs.Package {
	n.t.Helper()
	return n.packages[n.find(label+".drv")]
}

func (n *nixpkgs) pkgs(labels ...string) (all []any) {
	n.t.Helper()
	for _, label := range labels {
		all = append(all, n.pkg(label))
	}
	return all
}

// source returns a file of nixpkgs.
func (n *nixpkgs) source(label string) pixpkgs.String {
	n.t.Helper()
	return pixpkgs.StorePath(n.find(label))
}

// stdenv returns the stdenv of a package.
func (n *nixpkgs) stdenv(example string) *pixpkgs.Stdenv {
	n.t.Helper()
	e, err := pixpkgs.StdenvOf(n.pkg(example))
	if err != nil {
		n.t.Fatal(err)
	}
	if hook := "separate-debug-info.sh"; slices.ContainsFunc(n.paths, func(p storepath.Path) bool { return p.Name() == hook }) {
		e.DebugInfoHook = n.source(hook)
	}
	return e
}

// A reproduced is a package of a corpus, declared in Go. An example is another package with the same stdenv.
type reproduced struct {
	label, example string
	declare        func(n *nixpkgs) stdenvSpec
}

// bootstrapPackages are packages before the first compiler. Their derivations are in the repository.
var bootstrapPackages = []reproduced{
	{"gnu-config-2024-01-01", "bootstrap-stage0-glibc-bootstrapFiles", gnuConfig},
	{"bootstrap-stage0-glibc-bootstrapFiles", "gnu-config-2024-01-01", bootstrapLibc},
}

// gnuConfig consists of two downloads.
func gnuConfig(n *nixpkgs) stdenvSpec {
	return stdenvSpec{
		Pname: "gnu-config", Version: "2024-01-01",
		Attrs: env{
			"unpackPhase": pixpkgs.Sprintf("runHook preUnpack\ncp %s ./config.guess\ncp %s ./config.sub\nchmod +w ./config.sub ./config.guess\nrunHook postUnpack\n",
				n.pkg("config.guess-948ae97"), n.pkg("config.sub-948ae97")),
			"dontUpdateAutotoolsGnuConfigScripts": true, "dontConfigure": true, "dontBuild": true,
			"installPhase": "runHook preInstall\ninstall -Dm755 ./config.guess $out/config.guess\ninstall -Dm755 ./config.sub $out/config.sub\nrunHook postInstall\n",
		},
	}
}

// bootstrapLibc is a directory of links.
func bootstrapLibc(n *nixpkgs) stdenvSpec {
	tools := n.pkg("bootstrap-tools")
	return stdenvSpec{
		Pname: "bootstrap-stage0-glibc", Version: "bootstrapFiles", StrictDeps: true, EnableParallelBuilding: true,
		Attrs: env{"buildCommand": pixpkgs.Sprintf("mkdir -p $out\nln -s %s/lib $out/lib\nln -s %s/include-glibc $out/include\n", tools, tools)},
	}
}

// Packages that are declared in Go have the derivations that nixpkgs created.
func TestMkDerivation(t *testing.T) {
	for corpus, cases := range map[string][]reproduced{"": bootstrapPackages, "corepkgs-aiohttp": aiohttpPackages, "corepkgs-texlive": texlivePackages} {
		for _, c := range cases {
			t.Run(c.label, func(t *testing.T) {
				folder := "../testdata/corepkgs"
				if corpus != "" {
					folder = unpack(t, corpus)
				}
				n := loadNixpkgs(t, folder, c.label, c.example)
				want, e := n.pkg(c.label), n.stdenv(c.example)
				p, err := e.MkDerivation(c.declare(n))
				if err != nil {
					t.Fatal(err)
				}
				if p.DrvPath() != want.DrvPath() {
					t.Errorf("%s instead of %s\n%s", p.DrvPath(), want.DrvPath(), diffOf(want, p))
				}
			})
		}
	}
}

// diffOf returns the differing variables of two packages.
func diffOf(want, got *pixpkgs.Package) string {
	var b strings.Builder
	w, g := want.Derivation(), got.Derivation()
	for name, value := range w.Env.All() {
		if other, ok := g.Env.Get(name); !ok || other != value {
			b.WriteString(name + ":\n  " + value + "\n  " + other + "\n")
		}
	}
	for name, value := range g.Env.All() {
		if !w.Env.Has(name) {
			b.WriteString("new " + name + ": " + value + "\n")
		}
	}
	if !slices.Equal(w.Args, g.Args) || w.Builder != g.Builder {
		b.WriteString(strings.Join(append(g.Args, g.Builder), " ") + "\n")
	}
	return b.String()
}
