package pixpkgs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/pixpkgs"
	"pix/storepath"
)

// good returns a valid Spec, changed by f.
func good(f func(*pixpkgs.Spec)) pixpkgs.Spec {
	s := pixpkgs.Spec{Name: "hello", System: "x86_64-linux", Builder: "/bin/sh"}
	f(&s)
	return s
}

// A mistake changes a valid Spec. The error must contain all of wants.
type mistake struct {
	name  string
	f     func(*pixpkgs.Spec)
	wants []string
}

// An equalKey is a key of a map whose text is the same for all values.
type equalKey int

func (equalKey) MarshalText() ([]byte, error) { return []byte("same"), nil }

// fieldMistakes are mistakes that do not need other packages.
var fieldMistakes = []mistake{
	{"no such own output", func(s *spec) { s.Args = list{pixpkgs.Placeholder("doc")} }, []string{`"hello"`, "Args[0]", `"doc"`}},
	{"two outputs", func(s *spec) { s.Outputs = []string{"out", "dev", "out"} }, []string{`"hello"`, "Outputs", `"out"`}},
	{"no outputs", func(s *spec) { s.Outputs = []string{} }, []string{`"hello"`, "Outputs"}},
	{"illegal output", func(s *spec) { s.Outputs = []string{"o ut"} }, []string{`"hello"`, "Outputs", `"o ut"`}},
	{"empty output", func(s *spec) { s.Outputs = []string{""} }, []string{`"hello"`, "Outputs"}},
	{"drvPath", func(s *spec) { s.Outputs = []string{"drvPath"} }, []string{`"hello"`, "Outputs", `"drvPath"`}},
	{"illegal name", func(s *spec) { s.Name = "hello world" }, []string{`"hello world"`, "Name"}},
	{"no name", func(s *spec) { s.Name = "" }, []string{`""`, "Name"}},
	{"long name", func(s *spec) { s.Name = strings.Repeat("n", 208) }, []string{"Name", "207"}},
	{"long output", func(s *spec) { s.Outputs = []string{strings.Repeat("o", 206)} }, []string{`"hello"`, "Outputs", "211"}},
	{"name of a derivation", func(s *spec) { s.Name = "x.drv" }, []string{`"x.drv"`, "Name"}},
	{"no system", func(s *spec) { s.System = "" }, []string{`"hello"`, "System"}},
	{"system that cannot be written", func(s *spec) { s.System = `x"` }, []string{`"hello"`, "platform"}},
	{"no builder", func(s *spec) { s.Builder = nil }, []string{`"hello"`, "Builder"}},
	{"short hash", func(s *spec) { s.OutputHash = "sha256-abc" }, []string{`"hello"`, "OutputHash", "abc"}},
	{"hash without algorithm", func(s *spec) { s.OutputHash = emptyHex }, []string{`"hello"`, "OutputHash"}},
	{"hash of another algorithm", func(s *spec) { s.OutputHash, s.OutputHashAlgo = emptySRI, "sha1" }, []string{`"hello"`, "OutputHash"}},
	{"no such algorithm", func(s *spec) { s.OutputHash, s.OutputHashAlgo = emptyHex, "sha3" }, []string{`"hello"`, "OutputHashAlgo", "sha3"}},
	{"no such mode", func(s *spec) { s.OutputHash, s.OutputHashMode = emptySRI, "Flat" }, []string{`"hello"`, "OutputHashMode", "Flat"}},
	{"git with MD5", func(s *spec) { s.OutputHash, s.OutputHashMode = "md5:d41d8cd98f00b204e9800998ecf8427e", "git" }, []string{`"hello"`, "OutputHash"}},
	{"fixed outputs", func(s *spec) { s.OutputHash, s.Outputs = emptySRI, []string{"out", "dev"} }, []string{`"hello"`, "Outputs", `"dev"`}},
	{"both kinds", func(s *spec) { s.ContentAddressed, s.Impure = true, true }, []string{`"hello"`, "ContentAddressed"}},
	{"variable of a field", func(s *spec) { s.Env = env{"outputs": "x"} }, []string{`"hello"`, `Env "outputs"`, "field Outputs"}},
	{"attribute of a field", func(s *spec) { s.Attrs = env{"name": "x"} }, []string{`"hello"`, `Attrs "name"`, "field Name"}},
	{"variable of an output", func(s *spec) { s.Env = env{"out": "x"} }, []string{`"hello"`, `Env "out"`}},
	{"variables and attributes", func(s *spec) { s.Env, s.Attrs = env{"x": "x"}, env{"y": "y"} }, []string{`"hello"`, "Env", "Attrs"}},
	{"invalid attributes", func(s *spec) { s.Attrs = list{1} }, []string{`"hello"`, "Attrs"}},
	{"invalid attribute", func(s *spec) { s.Attrs = env{"f": func() {}} }, []string{`"hello"`, "Attrs", `"f"`, "func()"}},
	{"attribute that is infinite", func(s *spec) { s.Attrs = env{"f": math.Inf(1)} }, []string{`"hello"`, "Attrs", `"f"`, "Inf"}},
	{"attribute that is no number", func(s *spec) { s.Attrs = env{"n": json.Number("0x10")} }, []string{`"hello"`, "Attrs", `"n"`, "0x10"}},
	{"attribute with keys without text", func(s *spec) { s.Attrs = env{"m": map[float64]int{1: 1}} }, []string{`"hello"`, "Attrs", `"m"`, "float64"}},
	{"attribute with equal keys", func(s *spec) { s.Attrs = env{"m": map[equalKey]int{1: 1, 2: 2}} }, []string{`"hello"`, "Attrs", `"m"`, `"same"`}},
	{"nil attributes", func(s *spec) { s.Attrs = env(nil) }, []string{`"hello"`, "Attrs", "nil"}},
	{"copied package", func(s *spec) { s.Attrs = env{"p": struct{ P pixpkgs.Object }{}} }, []string{`"hello"`, "Attrs", `"P"`, "pointer"}},
	{"attribute that is not UTF-8", func(s *spec) { s.Attrs = env{"a": "\xff"} }, []string{`"hello"`, "Attrs", "UTF-8"}},
	{"value without text", func(s *spec) { s.Env = env{"m": map[string]string{}} }, []string{`"hello"`, `Env "m"`, "map[string]string"}},
	{"NUL", func(s *spec) { s.Env = env{"z": "a\x00b"} }, []string{`"hello"`, `Env "z"`, "NUL"}},
	{"nil package", func(s *spec) { s.Args = list{(*pixpkgs.Package)(nil)} }, []string{`"hello"`, "Args[0]", "nil"}},
	{"nil object", func(s *spec) { s.Args = list{(*pixpkgs.Object)(nil)} }, []string{`"hello"`, "Args[0]", "nil"}},
	{"nil lazy", func(s *spec) { s.Args = list{(*pixpkgs.Lazy)(nil)} }, []string{`"hello"`, "Args[0]", "nil"}},
	{"invalid dependency", func(s *spec) { s.Deps = list{"/nix/store"} }, []string{`"hello"`, "Deps[0]", "string"}},
	{"invalid path", func(s *spec) { s.Deps = list{pixpkgs.StorePath("/nix/store/x")} }, []string{`"hello"`, "Deps[0]", "/nix/store/x"}},
}

// Each mistake is an error of the call that made it, with the name of the package and the field.
func TestMistakes(t *testing.T) {
	bash := mk(t, pixpkgs.Spec{Name: "bash", Outputs: []string{"out", "dev"}})
	dev, err := bash.OutputPath("dev")
	if err != nil {
		t.Fatal(err)
	}
	ca := floating(t)
	onCA := mk(t, pixpkgs.Spec{Name: "on-floating", Env: env{"f": ca}})
	object := text(t, "f.txt", "text")
	self := map[string]any{}
	self["self"] = self
	tests := append(slices.Clone(fieldMistakes), []mistake{
		{"undeclared", func(s *spec) { s.Env = env{"script": fmt.Sprintf("exec %s/bin/bash", bash)} }, []string{`"hello"`, `Env "script"`, `"bash"`, bash.String()}},
		{"undeclared in a path", func(s *spec) { s.Args = list{"-c", "PATH=/bin:" + bash.String() + "/bin"} }, []string{`"hello"`, "Args[1]", `"bash"`}},
		{"undeclared builder", func(s *spec) { s.Builder = bash.String() + "/bin/bash" }, []string{`"hello"`, "Builder", `"bash"`}},
		{"undeclared attribute", func(s *spec) { s.Attrs = env{"a": list{env{"b": bash.String()}}} }, []string{`"hello"`, "Attrs", `"bash"`, `"a"`, "[0]", `"b"`}},
		{"undeclared source", func(s *spec) { s.Args = list{object.String()} }, []string{`"hello"`, "Args[0]", `"f.txt"`}},
		{"undeclared .drv", func(s *spec) { s.Args = list{string(bash.DrvPath()), bash} }, []string{`"hello"`, "Args[0]", `"bash.drv"`}},
		{"undeclared output", func(s *spec) { s.Args = list{bash, string(dev)} }, []string{`"hello"`, "Args[1]", `output "dev"`, `"bash"`}},
		{"undeclared floating", func(s *spec) { s.Args = list{ca.String()}; s.Deps = list{onCA} }, []string{`"hello"`, "Args[0]", `"floating"`}},
		{"undeclared and unknown", func(s *spec) { s.Args = list{"PATH=/x:" + ca.String() + "/bin"} }, []string{`"hello"`, "Args[0]", ca.String()}},
		{"no such output", func(s *spec) { s.Env = env{"d": bash.Out("doc").Path("x")} }, []string{`"hello"`, `Env "d"`, `"bash"`, `"doc"`, `"dev"`}},
		{"no such output, printed", func(s *spec) { s.Env = env{"d": fmt.Sprintf("%s/x", bash.Out("doc"))} }, []string{`"hello"`, `Env "d"`, `"bash"`, `"doc"`}},
		{"lazy, printed", func(s *spec) { s.Args = list{fmt.Sprint(pixpkgs.Ready(bash))} }, []string{`"hello"`, "Args[0]", "pixpkgs.Sprintf"}},
		{"lazy without a package", func(s *spec) { s.Args = list{pixpkgs.Ready(nil)} }, []string{`"hello"`, "*Package is nil"}},
		{"attribute in itself", func(s *spec) { s.Attrs = self }, []string{`"hello"`, "Attrs", "deep"}},
		{"output of a text", func(s *spec) { s.Args = list{pixpkgs.OutputOf("text", "out")} }, []string{`"hello"`, "Args[0]", "OutputOf", "string"}},
		{"output of a path", func(s *spec) { s.Args = list{pixpkgs.OutputOf(bash.Path("bin"), "out")} }, []string{`"hello"`, "Args[0]", "OutputOf", "bash/bin"}},
		{"output without a name", func(s *spec) { s.Args = list{pixpkgs.OutputOf(ca, "")} }, []string{`"hello"`, "Args[0]", "OutputOf", `""`}},
		{"output of no such output", func(s *spec) { s.Args = list{pixpkgs.OutputOf(ca.Out("doc"), "out")} }, []string{`"hello"`, "Args[0]", `"floating"`, `"doc"`}},
		{"output of a derivation, printed", func(s *spec) { s.Args = list{pixpkgs.OutputOf(ca, "out").String()}; s.Deps = list{ca} }, []string{`"hello"`, "Args[0]", "placeholder"}},
		{"width", func(s *spec) { s.Args = list{pixpkgs.Sprintf("%10s", bash)} }, []string{`"hello"`, "Args[0]", "%s"}},
		{"number", func(s *spec) { s.Args = list{pixpkgs.Sprintf("%d", bash)} }, []string{`"hello"`, "Args[0]", "%s"}},
		{"path of an output", func(s *spec) { s.Env = env{"dev": dev} }, []string{`"hello"`, `Env "dev"`, `"bash-dev"`}},
		{"another store", func(s *spec) { s.Dir = "/gnu/store"; s.Args = list{bash} }, []string{`"hello"`, "Args[0]", `"bash"`, "/gnu/store", "/nix/store"}},
		{"source of another store", func(s *spec) { s.Dir = "/gnu/store"; s.Args = list{object} }, []string{`"hello"`, "Args[0]", "/gnu/store"}},
	}...)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := pixpkgs.Derive(good(test.f))
			if err == nil {
				t.Fatalf("no error, but %s", p.Derivation())
			}
			var e *pixpkgs.Error
			if !errors.As(err, &e) {
				t.Errorf("the error is a %T", err)
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
		})
	}
}

// These Specs look like mistakes, but are valid.
func TestValidSpecs(t *testing.T) {
	bash, ca := mk(t, pixpkgs.Spec{Name: "bash"}), floating(t)
	for name, f := range map[string]func(*pixpkgs.Spec){
		"a path that is not a store path": func(s *spec) { s.Args = list{"/nix/store/abc-x /nix/store/ /nix/store"} },
		"another store's path":            func(s *spec) { s.Args = list{"/gnu/store/" + bash.DrvPath().Base()} },
		"a hash in a URL":                 func(s *spec) { s.Args = list{"https://cache.example" + ca.String() + ".nar.xz"} },
		"one's own placeholder":           func(s *spec) { s.Args = list{string(storepath.OwnPlaceholder("out")) + "/bin"} },
		"declared, and printed":           func(s *spec) { s.Args = list{bash.String() + "/bin"}; s.Deps = list{bash} },
		"declared elsewhere, and printed": func(s *spec) { s.Args = list{bash.String() + "/bin"}; s.Env = env{"b": bash} },
		"declared floating, and printed":  func(s *spec) { s.Args = list{"PATH=" + ca.String() + "/bin"}; s.Deps = list{ca} },
		"the path of something raw":       func(s *spec) { s.Args = list{pixpkgs.Raw(bash.String())} },
		"a name of a derivation's text": func(s *spec) {
			s.Name, s.OutputHash, s.OutputHashMode = "x.drv", emptySRI, "text"
		},
	} {
		if _, err := pixpkgs.Derive(good(f)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Changing a Spec after deriving it changes neither the package nor packages derived from that.
func TestSpecIsCopied(t *testing.T) {
	inner := map[string]any{"x": list{"y"}}
	s := pixpkgs.Spec{Name: "s", System: "x86_64-linux", Builder: "/bin/sh", Args: list{"a", []string{"b"}}, Env: env{"k": "v"}, Outputs: []string{"out"}, Deps: list{}}
	structured := pixpkgs.Spec{Name: "s", System: "x86_64-linux", Builder: "/bin/sh", Attrs: inner}
	p, q := mk(t, s), mk(t, structured)
	before, beforeQ := p.Derivation().String(), q.Derivation().String()
	s.Args[0], s.Args[1].([]string)[0], s.Env["k"], s.Env["new"], s.Outputs[0] = "changed", "changed", "changed", "changed", "changed"
	inner["x"].(list)[0], inner["z"] = "changed", 1
	p.Derivation().Args[0] = "changed"
	var kept *pixpkgs.Spec
	same, err := p.Override(func(s *pixpkgs.Spec) { kept = s })
	if err != nil {
		t.Fatal(err)
	}
	kept.Args[0], kept.Env["k"] = "changed", "changed"
	for _, p := range []*pixpkgs.Package{p, same} {
		if p.Derivation().String() != before {
			t.Errorf("%s has changed to %s", before, p.Derivation())
		}
	}
	sameQ, err := q.Override(func(*pixpkgs.Spec) {})
	if err != nil || sameQ.Derivation().String() != beforeQ {
		t.Errorf("%s has changed to %s, %v", beforeQ, sameQ.Derivation(), err)
	}
}

func TestMistakesInSources(t *testing.T) {
	bash := mk(t, pixpkgs.Spec{Name: "bash"})
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		call func() (*pixpkgs.Object, error)
		want []string
	}{
		"text with a package":    {func() (*pixpkgs.Object, error) { return pixpkgs.Text("f", bash) }, []string{`"f"`, `"bash"`}},
		"text with a path":       {func() (*pixpkgs.Object, error) { return pixpkgs.Text("f", bash.String()) }, []string{`"f"`, `"bash"`}},
		"text with a known path": {func() (*pixpkgs.Object, error) { return pixpkgs.Text("f", bash.DrvPath()) }, []string{`"f"`, "bash.drv"}},
		"name of a text":         {func() (*pixpkgs.Object, error) { return pixpkgs.Text("a/b", "x") }, []string{`"a/b"`}},
		"name of a source":       {func() (*pixpkgs.Object, error) { return pixpkgs.SourceFS(t.Context(), os.DirFS(dir), ".", nil) }, []string{`"."`}},
		"missing source":         {func() (*pixpkgs.Object, error) { return pixpkgs.Source(t.Context(), dir+"/nowhere", nil) }, []string{`"nowhere"`}},
		"flat directory": {func() (*pixpkgs.Object, error) {
			return pixpkgs.Source(t.Context(), dir+"/sub", &pixpkgs.SourceOptions{Flat: true})
		}, []string{`"sub"`, "Flat"}},
	} {
		_, err := test.call()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not contain %q", name, err, want)
			}
		}
	}
	if _, err := pixpkgs.Source(t.Context(), dir+"/nowhere", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing source: %v", err)
	}
	if _, err := pixpkgs.FetchURL("https://example.org/x", "abc", nil); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("a download with the hash abc: %v", err)
	}
}
