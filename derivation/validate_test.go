package derivation_test

import (
	"errors"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

func TestValidate(t *testing.T) {
	valid := func() *derivation.Derivation {
		return parse(t, "x", `Derive([("out","","r:sha256","")],[("%A.drv",["out"])],["%B"],"s","b",[],[("out","x")])`)
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 207)
	for _, c := range []struct {
		what   string
		change func(d *derivation.Derivation)
		field  string
	}{
		{"no name", func(d *derivation.Derivation) { d.Name = "" }, "name"},
		{"a long name", func(d *derivation.Derivation) { d.Name = long + "n" }, "name"},
		{"an illegal name", func(d *derivation.Derivation) { d.Name = "a b" }, "name"},
		{"the name ..", func(d *derivation.Derivation) { d.Name = ".." }, "name"},
		{"no outputs", func(d *derivation.Derivation) { d.Outputs.Delete("out") }, "outputs"},
		{"an output drvPath", func(d *derivation.Derivation) {
			d.Outputs.Set("drvPath", derivation.FloatingOutput(storepath.NAR, 3))
		}, `output "drvPath"`},
		{"an illegal output", func(d *derivation.Derivation) {
			d.Outputs.Set("a\"b", derivation.FloatingOutput(storepath.NAR, 3))
		}, `output "a"b"`},
		{"a long output", func(d *derivation.Derivation) {
			d.Outputs.Set(long+"nnnn", derivation.FloatingOutput(storepath.NAR, 3))
		}, `output "` + long + `nnnn"`},
		{"an output without a kind", func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.Output{}) }, `output "out"`},
		{"text with md5", func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.FloatingOutput(storepath.Text, 1)) }, `output "out"`},
		{"git with md5", func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.ImpureOutput(storepath.Git, 1)) }, `output "out"`},
		{"a path elsewhere", func(d *derivation.Derivation) {
			d.Outputs.Set("out", derivation.InputAddressedOutput("/gnu/store/"+digits+"-x"))
		}, `output "out"`},
		{"a wrong fixed path", func(d *derivation.Derivation) {
			_, wrong := parse(t, "x", `Derive([("out","%A","sha256","`+zeros+`")],[],[],"","",[],[])`).Outputs.At(0)
			d.Outputs.Set("out", wrong)
		}, `output "out"`},
		{"an input that is not a derivation", func(d *derivation.Derivation) { d.InputDerivations.Set(p("x"), derivation.OutputsOf("out")) }, "input " + string(p("x"))},
		{"an input elsewhere", func(d *derivation.Derivation) {
			d.InputDerivations.Set("/gnu/store/"+digits+"-x.drv", derivation.OutputsOf("out"))
		}, "input /gnu/store/" + digits + "-x.drv"},
		{"an input without used outputs", func(d *derivation.Derivation) { d.InputDerivations.Set(p("x.drv"), derivation.OutputsOf()) }, "input " + string(p("x.drv"))},
		{"an input with an invalid output name", func(d *derivation.Derivation) { d.InputDerivations.Set(p("x.drv"), derivation.OutputsOf("a b")) }, "input " + string(p("x.drv"))},
		{"a source elsewhere", func(d *derivation.Derivation) { d.InputSources.Add("x") }, "source x"},
		{"a quote in the platform", func(d *derivation.Derivation) { d.Platform = `a"b` }, "platform"},
		{"a backslash in the platform", func(d *derivation.Derivation) { d.Platform = `a\b` }, "platform"},
		{"invalid JSON", func(d *derivation.Derivation) { d.Env.Set("__json", "{") }, `env "__json"`},
		{"no store directory", func(d *derivation.Derivation) { d.Dir = "" }, "Dir"},
	} {
		d := valid()
		c.change(d)
		var invalid *derivation.InvalidError
		if err := d.Validate(); !errors.As(err, &invalid) || invalid.Field != c.field || invalid.Reason == "" {
			t.Errorf("%s: %v, want an error for %s", c.what, err, c.field)
		}
	}
	d := valid()
	d.Name, d.Platform = "a b", `"`
	if n := len(d.Problems()); n != 2 {
		t.Errorf("%d problems: %v", n, d.Problems())
	}
	d = valid()
	d.Name = long
	if err := d.Validate(); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}
