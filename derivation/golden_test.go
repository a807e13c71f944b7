package derivation_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/storepath"
)

// Nix's own data: a .drv file, its JSON, and its options.
func TestGolden(t *testing.T) {
	dir := testenv.NixData(t, "store/derivation")
	for _, kind := range []string{"ia", "ca"} {
		for _, name := range []string{
			"advanced-attributes-defaults", "advanced-attributes",
			"advanced-attributes-structured-attrs-defaults", "advanced-attributes-structured-attrs",
		} {
			compareGolden(t, filepath.Join(dir, kind, name), name)
		}
	}
	compareGolden(t, filepath.Join(dir, "simple-derivation"), "simple-derivation")
	compareGolden(t, filepath.Join(dir, "dyn-dep-derivation"), "dyn-dep-derivation")
}

func compareGolden(t *testing.T, file, name string) {
	t.Helper()
	text, want := read(t, file+".drv"), read(t, file+".json")
	d, err := derivation.Parse(text)
	if err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	d.Name = name
	if d.String() != text {
		t.Errorf("%s prints as %s", file, d)
	}
	got, err := d.AppendJSON(nil, derivation.JSONVersion4, "  ")
	if err != nil || !sameJSON(t, string(got), want) {
		t.Errorf("%s in JSON: %v\n%s\nwant\n%s", file, err, got, want)
	}
	again, err := derivation.ParseJSON(want, nil)
	if err != nil || again.String() != text {
		t.Errorf("%s from JSON: %v\n%s\nwant\n%s", file, err, again, text)
	}
}

func TestGoldenSelfContained(t *testing.T) {
	d, err := derivation.ParseJSON(read(t, testenv.NixData(t, "store/derivation/ca/self-contained.json")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if kind, err := d.Kind(); err != nil || kind != derivation.Floating {
		t.Errorf("%v, %v", kind, err)
	}
}

func TestGoldenOutputs(t *testing.T) {
	dir := testenv.NixData(t, "store/derivation")
	for name, kind := range map[string]derivation.OutputKind{
		"output-inputAddressed": derivation.InputAddressed, "output-caFixedFlat": derivation.Fixed,
		"output-caFixedNAR": derivation.Fixed, "output-caFixedText": derivation.Fixed,
		"output-caFloating": derivation.Floating, "output-deferred": derivation.Deferred, "output-impure": derivation.Impure,
	} {
		want := read(t, dir, name+".json")
		d, err := derivation.ParseJSON(`{"name":"drv-name","version":4,"outputs":{"output-name":`+want+`},"inputs":{"srcs":[],"drvs":{}},"system":"","builder":"","args":[],"env":{}}`, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if o, _ := d.Outputs.Get("output-name"); o.Kind() != kind {
			t.Errorf("%s is %v", name, o.Kind())
		}
		got, err := d.AppendJSON(nil, derivation.JSONVersion4, "")
		if err != nil {
			t.Fatal(err)
		}
		var whole struct {
			Outputs map[string]json.RawMessage
		}
		if err := json.Unmarshal(got, &whole); err != nil || !sameJSON(t, string(whole.Outputs["output-name"]), want) {
			t.Errorf("%s: %v, %s", name, err, got)
		}
	}
}

func TestGoldenBad(t *testing.T) {
	dir := testenv.NixData(t, "store/derivation")
	var syntax *derivation.SyntaxError
	for _, name := range []string{"bad-version", "bad-old-version-dyn-deps"} {
		if _, err := derivation.Parse(read(t, dir, name+".drv")); !errors.As(err, &syntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Parse accepts this one, but its path is not the computed one.
	d, err := derivation.Parse(read(t, dir, "bad-ca-fixed-path.drv"))
	if err != nil {
		t.Fatal(err)
	}
	d.Name = "fixed"
	var invalid *derivation.InvalidError
	if err := d.Validate(); !errors.As(err, &invalid) || !strings.HasPrefix(invalid.Want, "/nix/store/") {
		t.Errorf("bad-ca-fixed-path: %v", err)
	}
}

// Two large derivations from upstream's benchmarks are canonical.
func TestGoldenLarge(t *testing.T) {
	for _, name := range []string{"hello.drv", "firefox.drv"} {
		text := read(t, testenv.NixData(t, "store/derivation"), name)
		d, err := derivation.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := derivation.ParseCanonical(d.String())
		if err != nil || !again.Equal(d) || len(d.String()) != len(strings.TrimSpace(text)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoldenOptions(t *testing.T) {
	dir := testenv.NixData(t, "store/derivation")
	for _, c := range []struct{ drv, options string }{
		{"ia/advanced-attributes-defaults", "ia/derivation-options/defaults"},
		{"ia/advanced-attributes", "ia/derivation-options/all_set"},
		{"ia/advanced-attributes-structured-attrs-defaults", "ia/derivation-options/structuredAttrs_defaults"},
		{"ia/advanced-attributes-structured-attrs", "ia/derivation-options/structuredAttrs_all_set"},
		{"ca/advanced-attributes-defaults", "ia/derivation-options/defaults"},
		{"ca/advanced-attributes", "ca/derivation-options/all_set"},
		{"ca/advanced-attributes-structured-attrs-defaults", "ia/derivation-options/structuredAttrs_defaults"},
		{"ca/advanced-attributes-structured-attrs", "ca/derivation-options/structuredAttrs_all_set"},
	} {
		d, err := derivation.Parse(read(t, dir, c.drv+".drv"))
		if err != nil {
			t.Fatal(err)
		}
		d.Dir = storepath.DefaultDir
		options, err := d.Options()
		if err != nil {
			t.Errorf("%s: %v", c.drv, err)
			continue
		}
		got, err := json.Marshal(options)
		if want := read(t, dir, c.options+".json"); err != nil || !sameJSON(t, string(got), want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.drv, err, got, want)
		}
	}
}

func TestGoldenDerivedPaths(t *testing.T) {
	dir := testenv.NixData(t, "store/derived-path")
	for name, want := range map[string]string{
		"multi_opaque":               "%",
		"mutli_built":                "%^bar,baz",
		"multi_built_built":          "%^bar^baz,quux",
		"multi_built_built_wildcard": "%^bar^*",
		"single_opaque":              "%",
		"single_built":               "%^bar",
		"single_built_built":         "%^bar^baz",
	} {
		want = strings.ReplaceAll(want, "%", string(p("foo.drv")))
		text := read(t, dir, name+".json")
		if strings.HasPrefix(name, "single") {
			path, err := derivation.SingleDerivedPathFromJSON(storepath.DefaultDir, []byte(text))
			if err != nil || path.String() != want {
				t.Errorf("%s: %v, %v", name, path, err)
				continue
			}
			got, err := json.Marshal(path)
			if err != nil || !sameJSON(t, string(got), text) {
				t.Errorf("%s: %s, %v", name, got, err)
			}
			continue
		}
		path, err := derivation.DerivedPathFromJSON(storepath.DefaultDir, []byte(text))
		if err != nil || path.String() != want {
			t.Errorf("%s: %v, %v", name, path, err)
			continue
		}
		if got, err := json.Marshal(path); err != nil || !sameJSON(t, string(got), text) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestGoldenOutputsSpecs(t *testing.T) {
	dir := testenv.NixData(t, "store/outputs-spec")
	for name, want := range map[string]string{"all": "*", "name": "a", "names": "a,b"} {
		text := read(t, dir, name+".json")
		var spec derivation.OutputsSpec
		if err := json.Unmarshal([]byte(text), &spec); err != nil || spec.String() != want {
			t.Errorf("%s: %v, %v", name, spec, err)
		}
		if got, err := json.Marshal(spec); err != nil || !sameJSON(t, string(got), text) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"all": "^*", "name": "^a", "names": "^a,b", "def": ""} {
		text := read(t, dir, "extended", name+".json")
		var spec derivation.ExtendedOutputsSpec
		if err := json.Unmarshal([]byte(text), &spec); err != nil || spec.String() != want {
			t.Errorf("%s: %v, %v", name, spec, err)
		}
		if got, err := json.Marshal(spec); err != nil || !sameJSON(t, string(got), text) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}
