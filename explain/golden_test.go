package explain_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/storepath"
)

// goldenInputs are the inputs of Nix's golden derivations, which are not in its test data. Its expression advanced-attributes.nix
// declares them: foo and bar, with two outputs, addressed by their inputs or by their contents.
func goldenInputs(t *testing.T) texts {
	t.Helper()
	inputs := texts{}
	for _, name := range []string{"foo", "bar"} {
		for _, floating := range []bool{false, true} {
			d := &derivation.Derivation{
				Name: name, Dir: storepath.DefaultDir, Platform: "my-system", Builder: "/bin/bash", Args: []string{"-c", "echo " + name + " > $out"},
			}
			for key, value := range map[string]string{"builder": "/bin/bash", "name": name, "outputs": "out dev", "system": "my-system"} {
				d.Env.Set(key, value)
			}
			for _, output := range []string{"out", "dev"} {
				d.Outputs.Set(output, derivation.DeferredOutput())
				d.Env.Set(output, "")
				if floating {
					d.Outputs.Set(output, derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
					d.Env.Set(output, string(storepath.OwnPlaceholder(output)))
				}
			}
			if floating {
				d.Env.Set("outputHashAlgo", "sha256")
				d.Env.Set("outputHashMode", "recursive")
			} else if err := d.FillOutputPaths(nil, nil); err != nil {
				t.Fatal(err)
			}
			fakePackages{t, inputs}.store(d)
		}
	}
	return inputs
}

// madeUp are golden derivations whose inputs never existed: the hash parts of their paths are a row of one letter.
var madeUp = []string{"firefox.drv", "hello.drv"}

// The derivations in Nix's own test data are explained, and scripts compute their paths.
func TestGoldenDerivations(t *testing.T) {
	root := testenv.NixData(t, "store/derivation")
	inputs := goldenInputs(t)
	explained := map[string]int{}
	for _, pattern := range []string{"*.drv", "*/*.drv"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if base := filepath.Base(file); strings.HasPrefix(base, "bad-") || slices.Contains(madeUp, base) {
				continue
			}
			if d := goldenDerivation(t, file); d.Outputs.Len() > 0 { // others test only the syntax
				e := explainGolden(t, d, inputs)
				explained[e.Kind]++
				runScript(t, "sh", e)
			}
		}
	}
	if explained["input-addressed derivation"] < 4 || explained["floating derivation"] < 4 {
		t.Errorf("explained: %v", explained)
	}
}

// goldenDerivation parses a golden derivation.
func goldenDerivation(t *testing.T, file string) *derivation.Derivation {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := derivation.Parse(string(b))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	d.Name = strings.TrimSuffix(filepath.Base(file), ".drv")
	if d.Dir == "" {
		d.Dir = storepath.DefaultDir
	}
	return d
}

// explainGolden explains a golden derivation and checks that the steps compute its recorded output paths.
func explainGolden(t *testing.T, d *derivation.Derivation, inputs texts) *explain.Explanation {
	t.Helper()
	path, err := d.Path()
	if err != nil {
		t.Fatal(d.Name, err)
	}
	e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: inputs}, nil)
	if err != nil {
		t.Fatalf("%s: %v", d.Name, err)
	}
	if len(e.Problems) > 0 {
		t.Errorf("%s: problems: %q", d.Name, e.Problems)
	}
	for name, o := range d.Outputs.All() {
		if o.Path() == "" {
			continue
		}
		if s := stepOf(t, e, explain.StepPath, name); s.Result != string(o.Path()) {
			t.Errorf("the output %s of %s is %s", name, d.Name, s.Result)
		}
	}
	return e
}
