package derivation_test

import (
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// parsedText is a derivation with entries of all kinds: plain ones, some with escapes, and some
// that are very long.
func parsedText() string {
	long := strings.Repeat("x", 70_000)
	return text(`Derive([("out","","","")],[("%A.drv",["out"]),("%B.drv",["dev","out"]),("%C.drv",["dev"])],["%A","%B"],"p","b",["1","2","3","4"],` +
		`[("a","plain"),("b","with \"quotes\""),("c\n","key"),("d","` + long + `"),("e` + long + `","v"),("f",""),("` + `g` + `","\\")])`)
}

// Parsed maps are equal to maps that are built entry by entry.
func TestParsedMaps(t *testing.T) {
	d, err := derivation.ParseCanonical(parsedText())
	if err != nil {
		t.Fatal(err)
	}
	var env derivation.Map[string, string]
	for key, value := range d.Env.All() {
		env.Set(key, value)
	}
	var inputs derivation.Map[storepath.Path, derivation.InputOutputs]
	for path, used := range d.InputDerivations.All() {
		inputs.Set(path, used)
	}
	made := *d
	made.Env, made.InputDerivations = env, inputs
	if !made.Equal(d) || made.String() != parsedText() || d.String() != parsedText() {
		t.Error("it differs from the derivation built entry by entry")
	}
	for i := range env.Len() {
		wantKey, want := env.At(i)
		key, value := d.Env.At(i)
		got, ok := d.Env.Get(wantKey)
		if key != wantKey || value != want || got != want || !ok {
			t.Errorf("variable %.20q is %.20q, %.20q", wantKey, value, got)
		}
	}
	if _, ok := d.Env.Get("aa"); ok || d.Env.Has("") || d.Env.Has("z") || d.Env.Len() != 7 {
		t.Error("Has returns true for a missing variable")
	}
}

// Changing a parsed map does not change its copies, and the derivation prints with the changes.
func TestParsedMapsChanged(t *testing.T) {
	for what, change := range map[string]func(*derivation.Derivation){
		"a variable set":     func(d *derivation.Derivation) { d.Env.Set("a", "\t") },
		"a variable added":   func(d *derivation.Derivation) { d.Env.Set("aa", "") },
		"a variable deleted": func(d *derivation.Derivation) { d.Env.Delete("b") },
		"an input set":       func(d *derivation.Derivation) { d.InputDerivations.Set(p("a.drv"), derivation.OutputsOf("lib")) },
		"an input deleted":   func(d *derivation.Derivation) { d.InputDerivations.Delete(p("b.drv")) },
		"a source added":     func(d *derivation.Derivation) { d.InputSources.Add(p("0")) },
		"a source deleted":   func(d *derivation.Derivation) { d.InputSources.Delete(p("a")) },
	} {
		d, err := derivation.Parse(parsedText())
		if err != nil {
			t.Fatal(err)
		}
		made := d.Clone()
		before := *d
		change(d)
		change(made)
		if !d.Equal(made) || d.String() != made.String() || d.String() == parsedText() {
			t.Errorf("%s: printed as\n%.300s\nwant\n%.300s", what, d, made)
		}
		again, err := derivation.ParseCanonical(d.String())
		if err != nil || again.String() != d.String() {
			t.Errorf("%s: parsed again: %v", what, err)
		}
		if before.Env.Len() != 7 || before.InputDerivations.Len() != 3 {
			t.Errorf("%s: a copy has changed too", what)
		}
	}
}

// All inputs that use "out" share its name. Changing one of them does not change the others.
func TestSharedNames(t *testing.T) {
	d, err := derivation.Parse(text(`Derive([("out","","","")],[("%A.drv",["out"]),("%B.drv",["out"])],[],"p","b",[],[])`))
	if err != nil {
		t.Fatal(err)
	}
	used, _ := d.InputDerivations.Get(p("a.drv"))
	used.Names.Delete("out")
	used.Names.Add("dev")
	used, _ = d.InputDerivations.Get(p("a.drv"))
	used.Names.Add("dev")
	for path, used := range d.InputDerivations.All() {
		if got := fmt.Sprint(used.Names.Slice()); got != "[out]" {
			t.Errorf("%s has used outputs %s", path, got)
		}
	}
}
