package derivation_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
)

func TestOptions(t *testing.T) {
	d := parse(t, "x", `Derive([("out","","r:sha256","")],[],[],"s","b",[],[("allowSubstitutes",""),("allowedReferences",""),("disallowedReferences","dev %A/x //nix/store/`+digits+`-a out"),("exportReferencesGraph","g %A/bin g %B"),("passAsFile"," a\n\tb a"),("preferLocalBuild","true")])`)
	o, err := d.Options()
	if err != nil {
		t.Fatal(err)
	}
	if allowed, err := d.AllowsSubstitutes(); allowed || err != nil {
		t.Errorf("AllowsSubstitutes = %t, %v", allowed, err)
	}
	if o.AllowSubstitutes || o.PreferLocalBuild || strings.Join(o.PassAsFile.Slice(), ",") != "a,b" {
		t.Errorf("%+v", o)
	}
	if o.Checks == nil || o.Checks.AllowedReferences == nil || len(o.Checks.AllowedReferences) != 0 || o.Checks.AllowedRequisites != nil {
		t.Errorf("an empty list is the same as none: %+v", o.Checks)
	}
	// As in Nix, a text that is not exactly a store path is the name of an output.
	var refs []string
	for _, ref := range o.Checks.DisallowedReferences {
		if ref.Path != nil {
			refs = append(refs, "path "+ref.Path.String())
		} else {
			refs = append(refs, ref.Output)
		}
	}
	if got, want := strings.Join(refs, " "), text("%A/x dev out path %A"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if graph, _ := o.ExportReferencesGraph.Get("g"); len(graph) != 1 || graph[0].Base() != p("b") {
		t.Errorf("%v", graph)
	}
}

func TestOptionsRejectsInvalid(t *testing.T) {
	env := func(key, value string) string {
		return `Derive([("out","","r:sha256","")],[],[],"s","b",[],[("` + key + `","` + value + `")])`
	}
	attrs := func(json string) string { return env("__json", strings.ReplaceAll(json, `"`, `\"`)) }
	for _, c := range []struct{ text, want string }{
		{env("exportReferencesGraph", "a"), "odd number of tokens in 'exportReferencesGraph': 'a'"},
		{env("exportReferencesGraph", "1a %A"), "invalid file name '1a' in 'exportReferencesGraph'"},
		{env("exportReferencesGraph", "a x"), "is not in the store directory"},
		{attrs(`{"preferLocalBuild":"1"}`), "expected a boolean, found a string"},
		{attrs(`{"requiredSystemFeatures":"kvm"}`), "expected an array"},
		{attrs(`{"requiredSystemFeatures":[1]}`), "expected a string"},
		{attrs(`{"__sandboxProfile":1}`), "expected a string"},
		{attrs(`{"outputChecks":[]}`), "expected an object"},
		{attrs(`{"outputChecks":{"out":1}}`), "expected an object"},
		{attrs(`{"outputChecks":{"out":{"maxSize":-1}}}`), "not a number of bytes"},
		{attrs(`{"outputChecks":{"out":{"maxSize":"1"}}}`), "expected a number"},
		{attrs(`{"outputChecks":{"out":{"allowedReferences":1}}}`), "expected an array"},
		{attrs(`{"unsafeDiscardReferences":{"out":1}}`), "expected a boolean"},
		{attrs(`{"exportReferencesGraph":{"g":[["%A"],1]}}`), "expected a string or an array"},
	} {
		_, err := parse(t, "x", c.text).Options()
		var invalid *derivation.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.text, err, c.want)
		}
	}
	// With structured attributes the environment is ignored, and so is a graph that is not an
	// object.
	d := parse(t, "x", attrs(`{"exportReferencesGraph":"a","allowedReferences":["x"]}`))
	d.Env.Set("preferLocalBuild", "1")
	if o, err := d.Options(); err != nil || o.PreferLocalBuild || o.Checks != nil || o.ExportReferencesGraph.Len() != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestAllowsSubstitutes(t *testing.T) {
	for env, want := range map[string]string{
		``:                            "true <nil>",
		`("allowSubstitutes","1")`:    "true <nil>",
		`("allowSubstitutes","true")`: "false <nil>",
		`("__json","{}")`:             "true <nil>",
		`("__json","{\"allowSubstitutes\":false}")`: "false <nil>",
		`("__json","{\"allowSubstitutes\":1}")`:     "false ",
		`("__json","[]")`:                           "false ",
	} {
		d := parse(t, "x", `Derive([("out","","r:sha256","")],[],[],"s","b",[],[`+env+`])`)
		allowed, err := d.AllowsSubstitutes()
		if got := fmt.Sprint(allowed, " ", err); got != want && (want != "false " || allowed || err == nil) {
			t.Errorf("%s: %s", env, got)
		}
	}
}
