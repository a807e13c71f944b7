package derivation_test

import (
	"errors"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

func TestResolve(t *testing.T) {
	a, err1 := storepath.OutputPlaceholder(p("a.drv"), "out")
	b, err2 := storepath.OutputPlaceholder(p("b.drv.drv"), "out")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	nested, err := b.Output("dev")
	if err != nil {
		t.Fatal(err)
	}
	d := parse(t, "x", `DrvWithVersion("xp-dyn-drv",[("out","","","")],[("%A.drv",["out"]),("%B.drv.drv",([],[("out",["dev"])]))],["%C"],"s","`+string(a)+`/bin/sh",["`+string(nested)+`"],[("k`+string(a)+`","x`+string(a)+string(nested)+`"),("out","")])`)
	before := d.String()
	resolver := func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
		switch drv.String() + "^" + output {
		case string(p("a.drv")) + "^out":
			return p("a"), true
		case string(p("b.drv.drv")) + "^out^dev":
			return p("b-dev"), true
		}
		return "", false
	}
	r, err := d.Resolve(resolver)
	if err != nil {
		t.Fatal(err)
	}
	if d.String() != before {
		t.Error("Resolve changed the derivation")
	}
	out, _ := r.Env.Get("out")
	want := text(`Derive([("out","` + out + `","","")],[],["%A","%B-dev","%C"],"s","%A/bin/sh",["%B-dev"],[("k%A","x%A%B-dev"),("out","` + out + `")])`)
	if r.String() != want || r.Name != "x" {
		t.Errorf("%s\nwant\n%s", r, want)
	}
	if err := r.CheckOutputPaths(nil, nil); err != nil {
		t.Error(err)
	}
	var unresolved *derivation.UnresolvedError
	nothing := func(derivation.SingleDerivedPath, string) (storepath.Path, bool) { return "", false }
	if _, err := d.Resolve(nothing); !errors.As(err, &unresolved) || !strings.Contains(err.Error(), string(p("a.drv"))+"^out") {
		t.Errorf("%v", err)
	}
	elsewhere := func(derivation.SingleDerivedPath, string) (storepath.Path, bool) {
		return "/gnu/store/" + digits + "-x", true
	}
	var bad *storepath.Error
	if _, err := d.Resolve(elsewhere); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	if _, err := parse(t, "x", `Derive([("out","","","")],[("%A",["out"])],[],"","",[],[])`).Resolve(elsewhere); !errors.As(err, &bad) {
		t.Errorf("an input that is not a derivation: %v", err)
	}
}
