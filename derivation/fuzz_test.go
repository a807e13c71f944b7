package derivation_test

import (
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// Printing and parsing again returns the same derivation, and the same text if it is canonical.
func FuzzParse(f *testing.F) {
	for _, c := range accepted {
		f.Add(c.text)
	}
	for _, c := range rejected {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		canonical, notCanonical := derivation.ParseCanonical(text)
		d, err := derivation.Parse(text)
		if err != nil {
			if notCanonical == nil {
				t.Errorf("%v, but it is canonical", err)
			}
			return
		}
		printed := d.String()
		if notCanonical == nil && (printed != text || !canonical.Equal(d)) {
			t.Errorf("%q is canonical, but prints as %q", text, printed)
		}
		if strings.ContainsAny(plainFields(d), "\"\\") {
			return // Nix does not escape these, and cannot parse them again either
		}
		// The store directory may have come from a duplicate output that is not printed.
		again, err := (&derivation.ParseOptions{Dir: d.Dir}).Parse(printed)
		if err != nil || !again.Equal(d) || again.String() != printed {
			t.Errorf("%q prints as %q, which is parsed as %v, %v", text, printed, again, err)
		}
		if !d.Clone().Equal(d) {
			t.Errorf("%q: a clone is not equal", text)
		}
		if diff := derivation.Diff(d, d.Clone()); !diff.IsEmpty() {
			t.Errorf("%q: a clone differs: %+v", text, diff)
		}
		d.Name = "x"
		all(d)
	})
}

// plainFields returns the fields that are printed without escapes and can contain any text.
func plainFields(d *derivation.Derivation) string {
	var all strings.Builder
	all.WriteString(d.Platform)
	for name, output := range d.Outputs.All() {
		all.WriteString(name)
		all.WriteString(string(output.Path()))
	}
	var inputs func(derivation.InputOutputs)
	inputs = func(used derivation.InputOutputs) {
		for name := range used.Names.All() {
			all.WriteString(name)
		}
		for name, child := range used.Dynamic.All() {
			all.WriteString(name)
			inputs(child)
		}
	}
	for _, used := range d.InputDerivations.All() {
		inputs(used)
	}
	return all.String()
}

// all calls methods that must not panic for any derivation.
func all(d *derivation.Derivation) {
	d.Problems()
	d.Path()
	d.Options()
	d.StructuredAttrs()
	d.FillOutputPaths(none, nil)
	d.Clone().Resolve(func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) { return drv.Base(), true })
	d.AppendShow(nil, " ")
}

// Writing JSON and parsing it again returns the same derivation.
func FuzzJSON(f *testing.F) {
	f.Add(inJSON)
	f.Add(`{"derivations":{"` + digits + `-x.drv":` + inJSON + `},"version":4}`)
	f.Add(strings.Replace(inJSON, `"outputs":{}`, `"outputs":{"out":{"hash":"sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=","method":"nar"}}`, 1))
	f.Add(strings.Replace(inJSON, `"inputDrvs":{}`, `"inputDrvs":{"`+digits+`-x.drv":{"outputs":["a"],"dynamicOutputs":{"x":{"outputs":["b"]}}}}`, 1))
	f.Add(strings.Replace(inJSON, `"env":{}`, `"env":{"a":"\u00e9\ud83d\ude00\n"},"structuredAttrs":{"a":[1.5,1e300,-0.0,12345678901234567890,null,true]}`, 1))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := derivation.ParseJSON(text, &derivation.JSONOptions{Name: "x"})
		if err != nil {
			return
		}
		all(d.Clone())
		for version := derivation.JSONVersion1; version <= derivation.NewestJSONVersion; version++ {
			written, err := d.AppendJSON(nil, version, "")
			if err != nil {
				continue
			}
			again, err := derivation.ParseJSON(string(written), &derivation.JSONOptions{Name: d.Name})
			if err != nil {
				t.Fatalf("%s\nprints in version %d as\n%s\n%v", text, version, written, err)
			}
			if here, ok, _ := d.NormalizedStructuredAttrs(); ok && version >= derivation.JSONVersion3 {
				there, _ := again.Env.Get(derivation.StructuredAttrsKey)
				if here != there {
					t.Errorf("structured attributes %s are parsed as %s", here, there)
				}
				again.Env.Set(derivation.StructuredAttrsKey, value(d, derivation.StructuredAttrsKey))
			}
			if !again.Equal(d) {
				t.Errorf("%s\nprints in version %d as\n%s\nwhich is parsed as\n%s\nand not\n%s", text, version, written, again, d)
			}
		}
	})
}

func value(d *derivation.Derivation, key string) string {
	v, _ := d.Env.Get(key)
	return v
}

// Options are either rejected or can be written.
func FuzzOptions(f *testing.F) {
	f.Add("exportReferencesGraph", "a "+string(p("a")), `{}`)
	f.Add("allowedReferences", "out "+string(p("a")), `{"outputChecks":{"out":{"maxSize":1,"allowedReferences":["x"]}}}`)
	f.Add("passAsFile", "a b", `{"exportReferencesGraph":{"a":["`+string(p("a"))+`"]},"unsafeDiscardReferences":{"out":true}}`)
	f.Fuzz(func(t *testing.T, key, value, attrs string) {
		d := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir}
		d.Env.Set(key, value)
		for range 2 {
			if o, err := d.Options(); err == nil {
				if _, err := o.MarshalJSON(); err != nil {
					t.Error(err)
				}
			}
			d.Env.Set(derivation.StructuredAttrsKey, attrs)
		}
	})
}

func FuzzDerivedPath(f *testing.F) {
	f.Add(string(p("a.drv")) + "^out,dev")
	f.Add(string(p("a.drv")) + "^out^*")
	f.Fuzz(func(t *testing.T, s string) {
		path, err := derivation.ParseDerivedPath(storepath.DefaultDir, s)
		if err != nil {
			return
		}
		again, err := derivation.ParseDerivedPath(storepath.DefaultDir, path.String())
		if err != nil || again.String() != path.String() {
			t.Errorf("%q prints as %q, which is parsed as %v, %v", s, path, again, err)
		}
		if again, err = derivation.ParseLegacyDerivedPath(storepath.DefaultDir, path.LegacyString()); err != nil || again.String() != path.String() {
			t.Errorf("%q prints as %q, which is parsed as %v, %v", s, path.LegacyString(), again, err)
		}
	})
}
