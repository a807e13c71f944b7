package pixpkgs_test

import (
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/pixpkgs"
)

// A plain string may contain the placeholder of a declared output of a derivation that is an output.
func TestPrintedOutputOf(t *testing.T) {
	inner := pixpkgs.OutputOf(drvText(t), "out")
	want := mk(t, spec{Name: "dyn", Args: list{pixpkgs.Sprintf("%s/bin", inner)}})
	got := mk(t, spec{Name: "dyn", Args: list{inner.String() + "/bin"}, Deps: list{inner}})
	if got.DrvPath() != want.DrvPath() {
		t.Errorf("%s instead of %s", got.Derivation(), want.Derivation())
	}
}

// In a set, OutputOf accepts packages that are not derived yet, and results in the same derivation.
func TestOutputOfLazy(t *testing.T) {
	text := pixpkgs.Ready(drvText(t))
	for name, values := range map[string]struct{ lazy, derived pixpkgs.String }{
		"package": {pixpkgs.OutputOf(text, "out"), pixpkgs.OutputOf(drvText(t), "out")},
		"output":  {pixpkgs.OutputOf(text.Out("out"), "out"), pixpkgs.OutputOf(drvText(t), "out")},
		"nested":  {pixpkgs.OutputOf(pixpkgs.OutputOf(text, "out"), "lib"), pixpkgs.OutputOf(pixpkgs.OutputOf(drvText(t), "out"), "lib")},
		"drv":     {text.Drv(), drvText(t).Drv()},
		"of drv":  {pixpkgs.OutputOf(text.Drv(), "out"), drvText(t).Out("out")},
	} {
		lazy := mk(t, spec{Name: "dyn", Env: env{"o": values.lazy}})
		derived := mk(t, spec{Name: "dyn", Env: env{"o": values.derived}})
		if lazy.DrvPath() != derived.DrvPath() {
			t.Errorf("%s: %s instead of %s", name, lazy.Derivation(), derived.Derivation())
		}
	}
}

// experimental are the settings of a daemon that builds packages of all kinds.
var experimental = &realnix.Options{Config: map[string]string{
	"experimental-features": "nix-command ca-derivations dynamic-derivations impure-derivations",
}}

// Nix builds a derivation that a package wrote, and a package that uses its output.
func TestRealizeDynamic(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), experimental)
	inner := mk(t, spec{Name: "inner", Args: list{"-c", "echo inner > $out"}})
	made := mk(t, spec{
		Name: "inner.drv", ContentAddressed: true, OutputHashMode: "text",
		Args: list{"-c", `printf %s "$text" > $out`}, Env: env{"text": pixpkgs.Raw(inner.Derivation().String())},
	})
	outer := mk(t, spec{Name: "outer", Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo outer $x > $out", pixpkgs.OutputOf(made, "out"))}})
	built, err := pixpkgs.Realize(t.Context(), dial(t, d), made, outer)
	if err != nil {
		t.Fatal(err)
	}
	if got := built[0].Outputs["out"]; got != inner.DrvPath() {
		t.Errorf("the derivation is %s instead of %s", got, inner.DrvPath())
	}
	if got := readOutput(t, d, built[1].Outputs["out"]); got != "outer inner\n" {
		t.Errorf("%q was built", got)
	}
}

// An impure package is built again each time, and so is an impure package that uses it.
func TestRealizeImpure(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), experimental)
	impure := mk(t, spec{Name: "impure", Impure: true, Args: list{"-c", "read x < /proc/sys/kernel/random/uuid; echo $x > $out"}})
	on := mk(t, spec{Name: "on", Impure: true, Args: list{"-c", pixpkgs.Sprintf("read x < %s; echo on $x > $out", impure)}})
	seen := map[string]bool{}
	for range 2 {
		built, err := pixpkgs.Realize(t.Context(), dial(t, d), on)
		if err != nil {
			t.Fatal(err)
		}
		got := readOutput(t, d, built[0].Outputs["out"])
		if !strings.HasPrefix(got, "on ") || len(got) != len("on 01234567-89ab-cdef-0123-456789abcdef\n") {
			t.Errorf("%q was built", got)
		}
		seen[got] = true
	}
	if len(seen) != 2 {
		t.Errorf("two builds of an impure package have %d results", len(seen))
	}
}
