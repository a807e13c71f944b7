package derivation_test

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// none is an InputHashes without hashes.
func none(storepath.Path) (derivation.ModuloHash, bool) { return derivation.ModuloHash{}, false }

func parse(t testing.TB, name, s string) *derivation.Derivation {
	t.Helper()
	d, err := derivation.Parse(text(s))
	if err != nil {
		t.Fatal(err)
	}
	d.Name, d.Dir = name, storepath.DefaultDir
	return d
}

func ExampleDerivation_OutputPaths() {
	// The derivation of "derivation { name = "minimal"; system = "x86_64-linux"; builder = "/bin/sh"; }".
	d, err := derivation.Parse(`Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","minimal"),("out",""),("system","x86_64-linux")])`)
	if err != nil {
		panic(err)
	}
	d.Name, d.Dir = "minimal", storepath.DefaultDir
	paths, err := d.OutputPaths(nil, nil)
	if err != nil {
		panic(err)
	}
	for name, path := range paths.All() {
		fmt.Println(name, path)
	}
	if err := d.FillOutputPaths(nil, nil); err != nil {
		panic(err)
	}
	path, err := d.Path()
	fmt.Println(path, err)
	// Output:
	// out /nix/store/s5nvav9b8g8kczqzrn1n1npbvs31hgs4-minimal
	// /nix/store/v1x7ylvsiz9y106ac08pngsy82l2igb7-minimal.drv <nil>
}

// The hash is the hash of these texts.
func TestModuloText(t *testing.T) {
	d := parse(t, "x", `Derive([("out","%C","","")],[("%A.drv",["dev","out"]),("%B.drv",["lib","out"])],["%A"],"p","b",["a"],[("k","%C"),("out","%C")])`)
	one, two := nixhash.Sum(nixhash.SHA256, []byte("1")), nixhash.Sum(nixhash.SHA256, []byte("2"))
	inputs := func(a, b nixhash.Hash) derivation.InputHashes {
		return func(path storepath.Path) (derivation.ModuloHash, bool) {
			switch path {
			case p("a.drv"):
				return derivation.ModuloHash{Hash: a}, true
			case p("b.drv"):
				return derivation.ModuloHash{Hash: b}, true
			}
			return derivation.ModuloHash{}, false
		}
	}
	tail := text(`],["%A"],"p","b",["a"],[("k","%C"),("out",`)
	for _, c := range []struct {
		what   string
		mode   derivation.HashMode
		inputs derivation.InputHashes
		want   string
	}{
		{"as an input", derivation.AsInput, inputs(one, two), text(`Derive([("out","%C","","")],[("`) + one.Base16() + `",["dev","out"]),("` + two.Base16() + `",["lib","out"])` + tail + text(`"%C")])`)},
		{"for outputs", derivation.ForOutputs, inputs(one, two), `Derive([("out","","","")],[("` + one.Base16() + `",["dev","out"]),("` + two.Base16() + `",["lib","out"])` + tail + `"")])`},
		{"the other way round", derivation.ForOutputs, inputs(two, one), `Derive([("out","","","")],[("` + one.Base16() + `",["lib","out"]),("` + two.Base16() + `",["dev","out"])` + tail + `"")])`},
		{"merged", derivation.ForOutputs, inputs(one, one), `Derive([("out","","","")],[("` + one.Base16() + `",["dev","lib","out"])` + tail + `"")])`},
	} {
		if one.Compare(two) >= 0 {
			t.Fatal("the hashes have the other order")
		}
		got, err := d.HashModulo(c.mode, c.inputs, nil)
		if want := nixhash.Sum(nixhash.SHA256, []byte(c.want)); err != nil || got.Hash != want || got.Deferred {
			t.Errorf("%s: %v, %v, want the hash of %s", c.what, got, err, c.want)
		}
		if got, err := d.ModuloText(c.mode, c.inputs, nil); err != nil || got != c.want {
			t.Errorf("%s: the text %s, %v, want %s", c.what, got, err, c.want)
		}
	}
	before := d.String()
	if _, err := d.HashModulo(derivation.AsInput, inputs(one, one), nil); err != nil || d.String() != before {
		t.Errorf("merging has changed the derivation: %v", err)
	}
	var missing *derivation.MissingInputError
	if _, err := d.HashModulo(derivation.AsInput, none, nil); !errors.As(err, &missing) || missing.Input != p("a.drv") || !strings.Contains(err.Error(), string(p("a.drv"))) {
		t.Errorf("a missing input: %v", err)
	}
	if _, err := d.ModuloText(derivation.AsInput, none, nil); !errors.As(err, &missing) {
		t.Errorf("the text without an input: %v", err)
	}
	zero := func(storepath.Path) (derivation.ModuloHash, bool) { return derivation.ModuloHash{}, true }
	if _, err := d.HashModulo(derivation.AsInput, zero, nil); !errors.As(err, &missing) {
		t.Errorf("an invalid hash: %v", err)
	}
}

// The hash of a fixed output uses the computed path. It ignores the path in the derivation and
// the inputs.
func TestModuloFixed(t *testing.T) {
	for _, s := range []string{
		`Derive([("out","/x","r:sha256","` + strings.ToUpper(abcHex) + `")],[("%A.drv",["out"])],[],"p","b",[],[("out","y")])`,
		`Derive([("out","%A","r:sha256","` + abcHex + `")],[],[],"","",[],[])`,
	} {
		d := parse(t, "x", s)
		paths, err := d.OutputPaths(none, nil)
		if err != nil {
			t.Fatal(err)
		}
		path, _ := paths.Get("out")
		want := nixhash.Sum(nixhash.SHA256, []byte("fixed:out:r:sha256:"+abcHex+":"+string(path)))
		for _, mode := range []derivation.HashMode{derivation.AsInput, derivation.ForOutputs} {
			got, err := d.HashModulo(mode, none, nil)
			if err != nil || got.Hash != want || got.Deferred {
				t.Errorf("%v, %v", got, err)
			}
			if text, err := d.ModuloText(mode, none, nil); err != nil || nixhash.Sum(nixhash.SHA256, []byte(text)) != want {
				t.Errorf("the text %s, %v", text, err)
			}
		}
		if err := d.CheckOutputPaths(none, nil); err == nil {
			t.Error("a wrong path was accepted")
		}
		d.Dir = ""
		var invalid *derivation.InvalidError
		if _, err := d.HashModulo(derivation.AsInput, none, nil); !errors.As(err, &invalid) || invalid.Field != "Dir" {
			t.Errorf("without a store directory: %v", err)
		}
	}
}

func TestDeferral(t *testing.T) {
	hash := nixhash.Sum(nixhash.SHA256, nil)
	regular := func(storepath.Path) (derivation.ModuloHash, bool) { return derivation.ModuloHash{Hash: hash}, true }
	deferred := func(storepath.Path) (derivation.ModuloHash, bool) {
		return derivation.ModuloHash{Hash: hash, Deferred: true}, true
	}
	ordinary := `Derive([("out","","","")],[("%A.drv",["out"])],[],"","",[],[("out","")])`
	dynamic := `DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",(["out"],[("out",["out"])]))],[],"","",[],[("out","")])`
	newRules := &derivation.ModuloOptions{DynamicDefers: true}
	for _, c := range []struct {
		what, text string
		inputs     derivation.InputHashes
		options    *derivation.ModuloOptions
		own, input bool // deferred for outputs, and as an input
	}{
		{"regular", ordinary, regular, nil, false, false},
		{"on a deferred input", ordinary, deferred, nil, true, true},
		{"floating", `Derive([("out","","sha256","")],[],[],"","",[],[])`, nil, nil, true, true},
		{"impure", `Derive([("out","","sha256","impure")],[],[],"","",[],[])`, nil, nil, true, true},
		{"dynamic", dynamic, regular, nil, false, false},
		{"dynamic, by the rules of 2.36", dynamic, regular, newRules, true, true},
		{"deferred without need, by the rules of 2.36", ordinary, regular, newRules, false, true},
		{"fixed on a deferred input", `Derive([("out","%A","sha256","` + zeros + `")],[("%A.drv",["out"])],[],"","",[],[])`, deferred, newRules, false, false},
	} {
		d := parse(t, "x", c.text)
		own, err1 := d.HashModulo(derivation.ForOutputs, c.inputs, c.options)
		input, err2 := d.HashModulo(derivation.AsInput, c.inputs, c.options)
		if err1 != nil || err2 != nil || own.Deferred != c.own || input.Deferred != c.input {
			t.Errorf("%s: %v, %v, %v, %v", c.what, own, input, err1, err2)
		}
		paths, err := d.OutputPaths(c.inputs, c.options)
		if err != nil || (paths.Len() == 0) != c.own {
			t.Errorf("%s: paths %v, %v", c.what, paths, err)
		}
	}
	// The used outputs of dynamic derivations are not part of the hash.
	a, err1 := parse(t, "x", dynamic).HashModulo(derivation.AsInput, regular, nil)
	b, err2 := parse(t, "x", strings.Replace(dynamic, `("out",["out"])`, `("out",["dev"])`, 1)).HashModulo(derivation.AsInput, regular, nil)
	if err1 != nil || err2 != nil || a != b {
		t.Errorf("%v, %v, %v, %v", a, b, err1, err2)
	}
	// An input without used outputs is left out, but it must have a hash.
	c, err := parse(t, "x", `Derive([("out","","","")],[("%A.drv",[])],[],"","",[],[])`).HashModulo(derivation.AsInput, regular, nil)
	if want := nixhash.Sum(nixhash.SHA256, []byte(`Derive([("out","","","")],[],[],"","",[],[])`)); err != nil || c.Hash != want {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := parse(t, "x", `Derive([("a","","","")],[("%A.drv",[])],[],"","",[],[])`).HashModulo(derivation.AsInput, none, nil); err == nil {
		t.Error("an input without a hash was left out")
	}
}

func TestMixedKinds(t *testing.T) {
	for what, s := range map[string]string{
		"no outputs":           `Derive([],[],[],"","",[],[])`,
		"input and deferred":   `Derive([("a","%A","",""),("b","","","")],[],[],"","",[],[])`,
		"fixed and floating":   `Derive([("out","%A","sha256","` + zeros + `"),("x","","sha256","")],[],[],"","",[],[])`,
		"two fixed":            `Derive([("out","%A","sha256","` + zeros + `"),("out2","%A","sha256","` + zeros + `")],[],[],"","",[],[])`,
		"fixed, another name":  `Derive([("x","%A","sha256","` + zeros + `")],[],[],"","",[],[])`,
		"floating, two hashes": `Derive([("a","","sha256",""),("b","","sha1","")],[],[],"","",[],[])`,
	} {
		d := parse(t, "x", s)
		var invalid *derivation.InvalidError
		if _, err := d.Kind(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := d.HashModulo(derivation.AsInput, none, nil); !errors.As(err, &invalid) {
			t.Errorf("%s: hash: %v", what, err)
		}
		if _, err := d.OutputPaths(none, nil); !errors.As(err, &invalid) {
			t.Errorf("%s: paths: %v", what, err)
		}
		if d.Validate() == nil {
			t.Errorf("%s is valid", what)
		}
	}
	// Floating outputs with different methods may occur in one derivation.
	if kind, err := parse(t, "x", `Derive([("a","","sha256",""),("b","","r:sha256","")],[],[],"","",[],[])`).Kind(); err != nil || kind != derivation.Floating {
		t.Errorf("%v, %v", kind, err)
	}
}

func TestFillAndCheck(t *testing.T) {
	minimal := `Derive([("dev","","",""),("out","","","")],[],[],"s","b",[],[("dev",""),("out","")])`
	d := parse(t, "x", minimal)
	if err := d.FillOutputPaths(none, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if out, _ := d.Env.Get("dev"); !strings.HasSuffix(out, "-x-dev") {
		t.Errorf("dev is %q", out)
	}
	filled := d.String()
	if err := d.FillOutputPaths(none, nil); err != nil || d.String() != filled {
		t.Errorf("filled twice: %v", err)
	}
	for what, change := range map[string]func(*derivation.Derivation){
		"a variable is missing":   func(d *derivation.Derivation) { d.Env.Delete("out") },
		"a variable is another":   func(d *derivation.Derivation) { d.Env.Set("out", string(p("x"))) },
		"a path is another":       func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.InputAddressedOutput(p("x"))) },
		"something else changed":  func(d *derivation.Derivation) { d.Builder += "x" },
		"an output is deferred":   func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.DeferredOutput()) },
		"the name is another":     func(d *derivation.Derivation) { d.Name = "y" },
		"the store is another":    func(d *derivation.Derivation) { d.Dir = "/gnu/store" },
		"a source has been added": func(d *derivation.Derivation) { d.InputSources.Add(p("y")) },
	} {
		c := d.Clone()
		change(c)
		if err := c.CheckOutputPaths(none, nil); err == nil {
			t.Errorf("%s: not found", what)
		}
	}
	// The missing variable of a deferred output is added, with the path that a derivation with the variable has.
	d = parse(t, "x", `Derive([("out","","","")],[],[],"s","b",[],[])`)
	withVariable := parse(t, "x", `Derive([("out","","","")],[],[],"s","b",[],[("out","")])`)
	if err := cmp.Or(d.FillOutputPaths(none, nil), withVariable.FillOutputPaths(none, nil), d.Validate()); err != nil || d.String() != withVariable.String() {
		t.Errorf("%v: %s, want %s", err, d, withVariable)
	}
	// An error changes nothing.
	d = parse(t, "x", `Derive([("out","","","")],[("%A.drv",["out"])],[],"s","b",[],[])`)
	before := d.String()
	if err := d.FillOutputPaths(none, nil); err == nil || d.String() != before {
		t.Errorf("%v: %s", err, d)
	}
	// So is the variable of a fixed output.
	d = parse(t, "x", `Derive([("out","/wrong","sha256","`+zeros+`")],[],[],"s","b",[],[])`)
	if err := d.FillOutputPaths(none, nil); err != nil {
		t.Error(err)
	}
	if err := d.CheckOutputPaths(none, nil); err != nil {
		t.Error(err)
	}
	// A path of an output that cannot have one.
	d = parse(t, "x", `Derive([("out","%A","","")],[("%A.drv",["out"])],[],"s","b",[],[("out","%A")])`)
	err := d.CheckOutputPaths(func(storepath.Path) (derivation.ModuloHash, bool) {
		return derivation.ModuloHash{Hash: nixhash.Sum(nixhash.SHA256, nil), Deferred: true}, true
	}, nil)
	var invalid *derivation.InvalidError
	if !errors.As(err, &invalid) || invalid.Want != "no path" {
		t.Error(err)
	}
}

func TestPathNeedsDir(t *testing.T) {
	d := parse(t, "x", `Derive([("out","","sha256","")],[],[],"s","b",[],[])`)
	if path, err := d.Path(); err != nil || path.Name() != "x.drv" {
		t.Errorf("%s, %v", path, err)
	}
	d.Dir = ""
	if _, err := d.Path(); err == nil {
		t.Error("a path without a store directory was computed")
	}
	d.Dir, d.Name = "/nix/store", "a b"
	var bad *storepath.Error
	if _, err := d.Path(); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	d.Name = "x"
	d.InputSources.Add("/gnu/store/" + digits + "-x")
	if _, err := d.Path(); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
}

// Without hashes of inputs, an input is an error that names it, not a panic.
func TestNilInputHashes(t *testing.T) {
	d := parse(t, "x", `Derive([("out","","","")],[("%A.drv",["out"])],[],"s","b",[],[("out","")])`)
	var missing *derivation.MissingInputError
	_, hashErr := d.HashModulo(derivation.AsInput, nil, nil)
	_, pathErr := d.OutputPaths(nil, nil)
	for what, err := range map[string]error{
		"HashModulo": hashErr, "OutputPaths": pathErr, "CheckOutputPaths": d.CheckOutputPaths(nil, nil), "FillOutputPaths": d.FillOutputPaths(nil, nil),
	} {
		if !errors.As(err, &missing) || missing.Input.Name() != "a.drv" {
			t.Errorf("%s: %v", what, err)
		}
	}
}
