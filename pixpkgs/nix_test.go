package pixpkgs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/nar"
	"pix/pixpkgs"
)

// A declared is a package that is declared in Go and in Nix.
type declared struct {
	name string
	nix  string // an expression, in which "mk" is derivation with a system and a builder
	is   func(t *testing.T) *pixpkgs.Package
	// only234 is set if Nix 2.8 computes another path, or does not have the feature.
	only234 bool
}

// mk corresponds to "mk" in the Nix expressions.
func mk(t *testing.T, s pixpkgs.Spec) *pixpkgs.Package {
	t.Helper()
	if s.System == "" {
		s.System = "x86_64-linux"
	}
	if s.Builder == nil {
		s.Builder = "/bin/sh"
	}
	p, err := pixpkgs.Derive(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// of returns the case for a single Spec.
func of(s pixpkgs.Spec) func(*testing.T) *pixpkgs.Package {
	return func(t *testing.T) *pixpkgs.Package { return mk(t, s) }
}

const (
	emptyHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	emptySRI = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	emptySHA = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
)

type (
	spec = pixpkgs.Spec
	env  = map[string]any
	list = []any
)

// dep and multi are also used by other cases, so they are functions.
func dep(t *testing.T) *pixpkgs.Package { return mk(t, spec{Name: "dep"}) }

func multi(t *testing.T) *pixpkgs.Package {
	return mk(t, spec{Name: "multi", Outputs: []string{"bin", "out", "dev"}})
}

func floating(t *testing.T) *pixpkgs.Package {
	return mk(t, spec{Name: "floating", Outputs: []string{"out", "lib"}, ContentAddressed: true})
}

// preamble is the common part of the Nix expressions.
const preamble = `let
  mk = attrs: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attrs);
  dep = mk { name = "dep"; };
  multi = mk { name = "multi"; outputs = [ "bin" "out" "dev" ]; };
  floating = mk { name = "floating"; outputs = [ "out" "lib" ]; __contentAddressed = true; };
  impure = mk { name = "impure"; outputs = [ "lib" "out" ]; __impure = true; };
  drvText = mk { name = "made.drv"; __contentAddressed = true; outputHashMode = "text"; outputHashAlgo = "sha256"; };
in builtins.mapAttrs (_: p: p.drvPath) {
`

var plainCases = []declared{
	{name: "plain", nix: `mk { name = "plain"; }`, is: of(spec{Name: "plain"})},
	{name: "args", nix: `mk { name = "args"; args = [ "-c" "echo \"$x\" > $out" "" ]; x = "a\tb\nc\\"; }`,
		is: of(spec{Name: "args", Args: list{"-c", `echo "$x" > $out`, ""}, Env: env{"x": "a\tb\nc\\"}})},
	{name: "values", nix: `mk { name = "values"; i = 42; neg = -7; t = true; f = false; n = null; fl = 1.5; small = 1.0e-30; big = 1.0e300; l = [ 1 "two" [ 3 [ "four" ] ] true null ]; le = [ ]; lle = [ [ ] "x" [ ] ]; }`,
		is: of(spec{Name: "values", Env: env{"i": 42, "neg": int64(-7), "t": true, "f": false, "n": nil, "fl": 1.5, "small": 1e-30, "big": 1e300,
			"l": list{1, "two", list{uint8(3), []string{"four"}}, true, nil}, "le": list{}, "lle": list{list{}, "x", list{}}}})},
	{name: "unicode", nix: `mk { name = "unicode"; "ключ" = "значение 🎉"; }`, is: of(spec{Name: "unicode", Env: env{"ключ": "значение 🎉"}})},
	{name: "passAsFile", nix: `mk { name = "pass"; passAsFile = [ "text" "more" ]; text = "some\ntext"; more = ""; }`,
		is: of(spec{Name: "pass", Env: env{"passAsFile": []string{"text", "more"}, "text": "some\ntext", "more": ""}})},
	{name: "outputs", nix: `mk { name = "o"; outputs = [ "lib" "out" "a" ]; p = builtins.placeholder "lib"; }`,
		is: of(spec{Name: "o", Outputs: []string{"lib", "out", "a"}, Env: env{"p": pixpkgs.Placeholder("lib")}})},
	{name: "outOnly", nix: `mk { name = "o"; outputs = [ "out" ]; }`, is: of(spec{Name: "o", Outputs: []string{"out"}})},
	{name: "raw", nix: `mk { name = "raw"; d = builtins.unsafeDiscardStringContext "${dep}"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "raw", Env: env{"d": pixpkgs.Raw(dep(t).String())}})
	}},
}

var contextCases = []declared{
	{name: "context", nix: `mk { name = "context"; builder = "${dep}/bin/x"; args = [ dep "${multi.dev}/include:${multi}" ]; all = multi.all; }`, is: func(t *testing.T) *pixpkgs.Package {
		m := multi(t)
		return mk(t, spec{Name: "context", Builder: dep(t).Path("bin/x"), Args: list{dep(t), pixpkgs.Sprintf("%s/include:%v", m.Out("dev"), m)},
			Env: env{"all": list{m.Out("bin"), m.Out("out"), m.Out("dev")}}})
	}},
	{name: "subset", nix: `mk { name = "subset"; d = multi.dev; b = "${multi.bin}"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "subset", Env: env{"d": multi(t).Out("dev"), "b": multi(t)}})
	}},
	{name: "printed", nix: `mk { name = "printed"; script = "${dep}/x ${multi.dev}/y"; }`, is: func(t *testing.T) *pixpkgs.Package {
		d, m := dep(t), multi(t)
		dev, err := m.OutputPath("dev")
		if err != nil {
			t.Fatal(err)
		}
		return mk(t, spec{Name: "printed", Env: env{"script": fmt.Sprintf("%s/x %s/y", d, dev)}, Deps: list{d, m.Out("dev")}})
	}},
	{name: "chain", nix: `builtins.foldl' (below: i: mk { name = "chain-${toString i}"; inherit below; }) dep (builtins.genList (i: i) 50)`, is: func(t *testing.T) *pixpkgs.Package {
		p := dep(t)
		for i := range 50 {
			p = mk(t, spec{Name: fmt.Sprintf("chain-%d", i), Env: env{"below": p}})
		}
		return p
	}},
	{name: "drv", nix: `mk { name = "drv"; d = builtins.unsafeDiscardOutputDependency dep.drvPath; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "drv", Env: env{"d": dep(t).Drv()}})
	}},
}

var fixedCases = []declared{
	{name: "fixedFlat", nix: `mk { name = "f"; outputHash = "` + emptySRI + `"; }`, is: of(spec{Name: "f", OutputHash: emptySRI})},
	{name: "fixedMode", nix: `mk { name = "f"; outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "` + emptyHex + `"; }`,
		is: of(spec{Name: "f", OutputHashMode: "flat", OutputHashAlgo: "sha256", OutputHash: emptyHex})},
	{name: "fixedRecursive", nix: `mk { name = "f"; outputHashMode = "recursive"; outputHash = "` + emptySRI + `"; }`,
		is: of(spec{Name: "f", OutputHashMode: "recursive", OutputHash: emptySRI})},
	{name: "fixedSHA1", nix: `mk { name = "f"; outputHashMode = "recursive"; outputHashAlgo = "sha1"; outputHash = "` + emptySHA + `"; }`,
		is: of(spec{Name: "f", OutputHashMode: "recursive", OutputHashAlgo: "sha1", OutputHash: emptySHA})},
	{name: "fixedText", only234: true, nix: `mk { name = "f"; outputHashMode = "text"; outputHash = "` + emptySRI + `"; }`,
		is: of(spec{Name: "f", OutputHashMode: "text", OutputHash: emptySRI})},
	{name: "fixedGit", only234: true, nix: `mk { name = "f"; outputHashMode = "git"; outputHashAlgo = "sha1"; outputHash = "` + emptySHA + `"; }`,
		is: of(spec{Name: "f", OutputHashMode: "git", OutputHashAlgo: "sha1", OutputHash: emptySHA})},
	{name: "fixedBLAKE3", only234: true, nix: `mk { name = "f"; outputHashAlgo = "blake3"; outputHash = "` + emptyHex + `"; }`,
		is: of(spec{Name: "f", OutputHashAlgo: "blake3", OutputHash: emptyHex})},
	{name: "mirrors", nix: `mk { name = "m"; srcs = map (u: mk { name = "mirror"; outputHash = "` + emptySRI + `"; url = u; }) [ "https://one" "https://two" ]; }`, is: func(t *testing.T) *pixpkgs.Package {
		var srcs list
		for _, url := range []string{"https://one", "https://two"} {
			srcs = append(srcs, mk(t, spec{Name: "mirror", OutputHash: emptySRI, Env: env{"url": url}}))
		}
		return mk(t, spec{Name: "m", Env: env{"srcs": srcs}})
	}},
	{name: "fetchurl", nix: `import <nix/fetchurl.nix> { url = "https://example.org/a.tar.gz"; hash = "` + emptySRI + `"; }`, is: fetch("https://example.org/a.tar.gz", nil)},
	{name: "fetchurlUnpack", nix: `import <nix/fetchurl.nix> { url = "https://example.org/a.nar.xz"; hash = "` + emptySRI + `"; unpack = true; name = "a"; }`,
		is: fetch("https://example.org/a.nar.xz", &pixpkgs.FetchOptions{Unpack: true, Name: "a"})},
	{name: "fetchurlExecutable", nix: `import <nix/fetchurl.nix> { url = "https://example.org/a"; hash = "` + emptySRI + `"; executable = true; }`,
		is: fetch("https://example.org/a", &pixpkgs.FetchOptions{Executable: true})},
}

func fetch(url string, o *pixpkgs.FetchOptions) func(t *testing.T) *pixpkgs.Package {
	return func(t *testing.T) *pixpkgs.Package {
		p, err := pixpkgs.FetchURL(url, emptySRI, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

var floatingCases = []declared{
	{name: "floating", nix: `floating`, is: floating},
	{name: "floatingFlat", nix: `mk { name = "f"; __contentAddressed = true; outputHashMode = "flat"; outputHashAlgo = "sha512"; }`,
		is: of(spec{Name: "f", ContentAddressed: true, OutputHashMode: "flat", OutputHashAlgo: "sha512"})},
	{name: "impure", nix: `mk { name = "i"; __impure = true; }`, is: of(spec{Name: "i", Impure: true})},
	{name: "deferred", nix: `mk { name = "d"; a = "${floating.lib}/x"; b = floating; c = dep; }`, is: func(t *testing.T) *pixpkgs.Package {
		f := floating(t)
		return mk(t, spec{Name: "d", Env: env{"a": f.Out("lib").Path("x"), "b": f, "c": dep(t)}})
	}},
	{name: "deferredTwice", nix: `mk { name = "d2"; d = mk { name = "d"; f = floating; }; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "d2", Env: env{"d": mk(t, spec{Name: "d", Env: env{"f": floating(t)}})}})
	}},
	{name: "fixedBetween", nix: `mk { name = "top"; d = mk { name = "x"; outputHash = "` + emptySRI + `"; f = floating; }; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "top", Env: env{"d": mk(t, spec{Name: "x", OutputHash: emptySRI, Env: env{"f": floating(t)}})}})
	}},
	{name: "floatingOnFloating", nix: `mk { name = "f2"; __contentAddressed = true; f = floating.lib; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "f2", ContentAddressed: true, Env: env{"f": floating(t).Out("lib")}})
	}},
}

// drvText is a package whose output is the text of a derivation.
func drvText(t *testing.T) *pixpkgs.Package {
	return mk(t, spec{Name: "made.drv", ContentAddressed: true, OutputHashMode: "text", OutputHashAlgo: "sha256"})
}

var impureCases = []declared{
	{name: "impureOutputs", nix: `impure`, only234: true, is: impure},
	{name: "impureInput", nix: `mk { name = "i2"; __impure = true; i = "${impure.lib}/x"; }`, only234: true, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "i2", Impure: true, Env: env{"i": impure(t).Out("lib").Path("x")}})
	}},
	{name: "impureFixed", nix: `mk { name = "if"; outputHash = "` + emptySRI + `"; i = impure; }`, only234: true, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "if", OutputHash: emptySRI, Env: env{"i": impure(t)}})
	}},
	{name: "impureStructured", nix: `mk { name = "is"; __structuredAttrs = true; __impure = true; outputHashMode = "flat"; outputHashAlgo = "sha512"; i = [ impure.lib floating ]; }`, only234: true,
		is: func(t *testing.T) *pixpkgs.Package {
			return mk(t, spec{Name: "is", Impure: true, OutputHashMode: "flat", OutputHashAlgo: "sha512", Attrs: env{"i": list{impure(t).Out("lib"), floating(t)}}})
		}},
}

func impure(t *testing.T) *pixpkgs.Package {
	return mk(t, spec{Name: "impure", Impure: true, Outputs: []string{"lib", "out"}})
}

var dynamicCases = []declared{
	{name: "textDrv", only234: true, nix: `drvText`, is: drvText},
	{name: "textDrvFixed", only234: true, nix: `mk { name = "f.drv"; outputHashMode = "text"; outputHash = "` + emptySRI + `"; }`,
		is: of(spec{Name: "f.drv", OutputHashMode: "text", OutputHash: emptySRI})},
	{name: "drvInput", only234: true, nix: `mk { name = "copies.drv"; __contentAddressed = true; outputHashMode = "text"; d = builtins.unsafeDiscardOutputDependency multi.drvPath; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "copies.drv", ContentAddressed: true, OutputHashMode: "text", Env: env{"d": multi(t).Drv()}})
	}},
	{name: "outputOf", only234: true, nix: `mk { name = "dyn"; o = builtins.outputOf drvText.outPath "out"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "dyn", Env: env{"o": pixpkgs.OutputOf(drvText(t), "out")}})
	}},
	{name: "outputOfSeveral", only234: true, nix: `mk { name = "dyn"; args = [ "${builtins.outputOf drvText.outPath "out"}:${builtins.outputOf drvText.outPath "dev"}/include" ]; self = drvText; dep = dep; }`, is: func(t *testing.T) *pixpkgs.Package {
		d := drvText(t)
		return mk(t, spec{Name: "dyn", Args: list{pixpkgs.Sprintf("%s:%s", pixpkgs.OutputOf(d, "out"), pixpkgs.OutputOf(d.Out("out"), "dev").Path("include"))}, Env: env{"self": d, "dep": dep(t)}})
	}},
	{name: "outputOfOutputOf", only234: true, nix: `mk { name = "dyn3"; o = builtins.outputOf (builtins.outputOf drvText.outPath "out") "lib"; p = builtins.outputOf drvText.outPath "out"; }`, is: func(t *testing.T) *pixpkgs.Package {
		inner := pixpkgs.OutputOf(drvText(t), "out")
		return mk(t, spec{Name: "dyn3", Env: env{"o": pixpkgs.OutputOf(inner, "lib"), "p": inner}})
	}},
	{name: "outputOfDrv", only234: true, nix: `mk { name = "plain"; o = builtins.outputOf (builtins.unsafeDiscardOutputDependency multi.drvPath) "dev"; f = builtins.outputOf (builtins.unsafeDiscardOutputDependency floating.drvPath) "lib"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "plain", Env: env{"o": pixpkgs.OutputOf(multi(t).Drv(), "dev"), "f": pixpkgs.OutputOf(floating(t).Drv(), "lib")}})
	}},
	{name: "outputOfStructured", only234: true, nix: `mk { name = "dyn"; __structuredAttrs = true; __contentAddressed = true; deep.list = [ (builtins.outputOf drvText.outPath "out") ]; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "dyn", ContentAddressed: true, Attrs: env{"deep": env{"list": list{pixpkgs.OutputOf(drvText(t), "out")}}}})
	}},
	{name: "outputOfFixed", only234: true, nix: `mk { name = "dyn"; o = builtins.outputOf (mk { name = "f.drv"; outputHashMode = "text"; outputHash = "` + emptySRI + `"; }).outPath "out"; }`, is: func(t *testing.T) *pixpkgs.Package {
		f := mk(t, spec{Name: "f.drv", OutputHashMode: "text", OutputHash: emptySRI})
		return mk(t, spec{Name: "dyn", Env: env{"o": pixpkgs.OutputOf(f, "out")}})
	}},
	{name: "outputOfImpure", only234: true, nix: `mk { name = "dyn"; o = builtins.outputOf impure.lib.outPath "out"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "dyn", Env: env{"o": pixpkgs.OutputOf(impure(t), "out")}})
	}},
	{name: "aboveDynamic", only234: true, nix: `mk { name = "above"; d = mk { name = "dyn"; o = builtins.outputOf drvText.outPath "out"; }; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "above", Env: env{"d": mk(t, spec{Name: "dyn", Env: env{"o": pixpkgs.OutputOf(drvText(t), "out")}})}})
	}},
}

var structuredCases = []declared{
	{name: "structured", nix: `mk { name = "s"; __structuredAttrs = true; outputs = [ "out" "dev" ]; list = [ dep multi.dev "x" 1 [ ] { } ]; a.b.c = "${dep}/bin"; n = null; t = true; "é" = -5; Z = ""; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "s", Outputs: []string{"out", "dev"}, Attrs: map[string]any{
			"list": list{dep(t), multi(t).Out("dev"), "x", 1, list{}, env{}},
			"a":    env{"b": env{"c": dep(t).Path("bin")}}, "n": nil, "t": true, "é": -5, "Z": "",
		}})
	}},
	{name: "structuredStruct", nix: `mk { name = "s"; __structuredAttrs = true; flags = [ "-O2" ]; tool = dep; nested.deep = [ 1 2 ]; }`, is: func(t *testing.T) *pixpkgs.Package {
		type nested struct {
			Deep []int `json:"deep"`
		}
		return mk(t, spec{Name: "s", Attrs: struct {
			Flags  []string         `json:"flags"`
			Tool   *pixpkgs.Package `json:"tool"`
			Nested *nested          `json:"nested"`
			Empty  string           `json:"empty,omitempty"`
			Hidden int              `json:"-"`
		}{[]string{"-O2"}, dep(t), &nested{[]int{1, 2}}, "", 7}})
	}},
	{name: "structuredFloats", only234: true, nix: `mk { name = "s"; __structuredAttrs = true; a = 1.0; b = 1.5; c = 1.0e-5; d = 1.0e300; e = 0.1; g = 123456789.123456789; h = builtins.fromJSON "-0.0"; i = 1.0e15; j = 1.0e16; k = 3.0e-300; l = 9223372036854775807; }`,
		is: of(spec{Name: "s", Attrs: env{"a": 1.0, "b": 1.5, "c": 1e-5, "d": 1e300, "e": 0.1, "g": 123456789.123456789, "h": negativeZero(), "i": 1e15, "j": 1e16, "k": 3e-300, "l": int64(9223372036854775807)}})},
	{name: "structuredControl", only234: true, nix: `mk { name = "s"; __structuredAttrs = true; c = builtins.fromJSON ''"\u0001\u001f\u007f\u0080\b\f\n\r\t\"\\\/\u2028"''; }`,
		is: of(spec{Name: "s", Attrs: env{"c": "\x01\x1f\x7f\u0080\b\f\n\r\t\"\\/\u2028"}})},
	{name: "structuredFixed", nix: `mk { name = "s"; __structuredAttrs = true; outputHash = "` + emptySRI + `"; outputHashMode = "recursive"; }`,
		is: of(spec{Name: "s", Attrs: env{}, OutputHash: emptySRI, OutputHashMode: "recursive"})},
	{name: "structuredFloating", nix: `mk { name = "s"; __structuredAttrs = true; __contentAddressed = true; f = floating; args = [ "x" dep ]; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "s", ContentAddressed: true, Args: list{"x", dep(t)}, Attrs: env{"f": floating(t)}})
	}},
}

// negativeZero returns -0.0, which is not a constant in Go.
func negativeZero() float64 { return math.Copysign(0, -1) }

// sourceTree has the source files for cases, relative to the directory of the Nix expressions.
var sourceTree = map[string]string{"tree/a.sh": "echo a\n", "tree/sub/b": "b", "tree/sub/c.o": "object", "file.sh": "#!/bin/sh\n"}

func writeTree(t *testing.T, dir string) string {
	t.Helper()
	for name, text := range sourceTree {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sourced(path string, o *pixpkgs.SourceOptions) func(t *testing.T) *pixpkgs.Package {
	return func(t *testing.T) *pixpkgs.Package {
		src, err := pixpkgs.Source(t.Context(), filepath.Join(writeTree(t, t.TempDir()), path), o)
		if err != nil {
			t.Fatal(err)
		}
		fromFS, err := pixpkgs.SourceFS(t.Context(), os.DirFS(writeTree(t, t.TempDir())), path, o)
		if err != nil {
			t.Fatal(err)
		}
		if fromFS.StorePath() != src.StorePath() {
			t.Errorf("%s is %s in the file system, but %s in an fs.FS", path, src, fromFS)
		}
		return mk(t, spec{Name: "src", Env: env{"src": src}})
	}
}

var sourceCases = []declared{
	{name: "sourceTree", nix: `mk { name = "src"; src = ./tree; }`, is: sourced("tree", nil)},
	{name: "sourceFile", nix: `mk { name = "src"; src = ./file.sh; }`, is: sourced("file.sh", nil)},
	{name: "sourceNamed", nix: `mk { name = "src"; src = builtins.path { path = ./tree; name = "named"; }; }`, is: sourced("tree", &pixpkgs.SourceOptions{Name: "named"})},
	{name: "sourceFlat", nix: `mk { name = "src"; src = builtins.path { path = ./file.sh; recursive = false; }; }`, is: sourced("file.sh", &pixpkgs.SourceOptions{Flat: true})},
	{name: "sourceFiltered", nix: `mk { name = "src"; src = builtins.path { path = ./tree; filter = p: t: builtins.match ".*\\.o" p == null; }; }`,
		is: sourced("tree", &pixpkgs.SourceOptions{Filter: func(path string, _ nar.Kind) bool { return !strings.HasSuffix(path, ".o") }})},
	{name: "toFile", nix: `mk { name = "t"; f = builtins.toFile "f.txt" "contents\n"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "t", Env: env{"f": text(t, "f.txt", "contents\n")}})
	}},
	{name: "toFileReferences", nix: `mk { name = "t"; f = builtins.toFile "g.txt" "see ${builtins.toFile "f.txt" "contents\n"}"; }`, is: func(t *testing.T) *pixpkgs.Package {
		return mk(t, spec{Name: "t", Env: env{"f": text(t, "g.txt", pixpkgs.Sprintf("see %s", text(t, "f.txt", "contents\n")))}})
	}},
}

func text(t *testing.T, name string, contents any) *pixpkgs.Object {
	t.Helper()
	o, err := pixpkgs.Text(name, contents)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// goldenFile has the answers of Nix 2.34, for machines without Nix.
const goldenFile = "testdata/nix-2.34.json"

func allCases() []declared {
	return slices.Concat(plainCases, contextCases, fixedCases, floatingCases, impureCases, dynamicCases, structuredCases, sourceCases)
}

// compare derives each case and compares the path of its derivation.
func compare(t *testing.T, want map[string]string, cases []declared) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := c.is(t)
			if got := string(p.DrvPath()); got != want[c.name] {
				t.Errorf("%s is %s, but %s in Nix\n%s", c.nix, got, want[c.name], p.Derivation())
			}
		})
	}
}

func TestAgainstGolden(t *testing.T) {
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	compare(t, want, allCases())
}

func TestAgainstNix(t *testing.T) {
	for _, name := range []string{"bookworm", "sid"} { // 2.8 and 2.34
		t.Run(name, func(t *testing.T) {
			s := realnix.Get(t, name)
			cases := slices.DeleteFunc(allCases(), func(c declared) bool { return c.only234 && strings.HasPrefix(s.Version, "2.8.") })
			want, d := instantiate(t, s, cases)
			compare(t, want, cases)
			compareFiles(t, d, cases)
			if os.Getenv("PIX_UPDATE") != "" && s.Name == "sid" {
				writeGolden(t, want)
			}
		})
	}
}

// compareFiles compares the text of each derivation with the file that Nix wrote.
func compareFiles(t *testing.T, d *realnix.Daemon, cases []declared) {
	for _, c := range cases {
		p := c.is(t)
		text, err := os.ReadFile(d.HostPath(string(p.DrvPath())))
		if err != nil || string(text) != p.Derivation().String() {
			t.Errorf("%s: %s instead of %s, %v", c.name, p.Derivation(), text, err)
		}
	}
}

// instantiate derives the cases with Nix.
func instantiate(t *testing.T, s realnix.Suite, cases []declared) (map[string]string, *realnix.Daemon) {
	t.Helper()
	d := realnix.Start(t, s, &realnix.Options{Config: map[string]string{
		"experimental-features": "nix-command ca-derivations dynamic-derivations impure-derivations git-hashing blake3-hashes",
	}})
	var b strings.Builder
	b.WriteString(preamble)
	for _, c := range cases {
		fmt.Fprintf(&b, "  %s = %s;\n", c.name, c.nix)
	}
	b.WriteString("}\n")
	if err := os.WriteFile(filepath.Join(writeTree(t, d.HostPath("/tmp")), "cases.nix"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var answers map[string]string
	if err := json.Unmarshal([]byte(d.MustRun(t, "nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", "/tmp/cases.nix")), &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != len(cases) {
		t.Fatalf("Nix derived %d of %d cases", len(answers), len(cases))
	}
	return answers, d
}

// writeGolden writes the answers of Nix to the golden file.
func writeGolden(t *testing.T, answers map[string]string) {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(answers)) {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(&b, "%s\n  %q: %q", separator, name, answers[name])
	}
	b.WriteString("\n}\n")
	if err := os.MkdirAll(filepath.Dir(goldenFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
