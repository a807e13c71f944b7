package docs_test

import (
	"strings"
	"testing"

	"pix/derivation"
	"pix/nixhash"
	"pix/storepath"
)

// farewell returns a derivation that depends on the greeting.
func farewell(t *testing.T) (*derivation.Derivation, derivation.InputHashes) {
	t.Helper()
	greeting, err := derivation.Parse(greetingDrv(t))
	checkErr(t, err)
	greeting.Name = "greeting"
	drvPath, err := greeting.Path()
	checkErr(t, err)
	out, _ := greeting.Outputs.Get("out")

	d := &derivation.Derivation{
		Name: "farewell", Dir: storeDir, Platform: "x86_64-linux", Builder: "/bin/sh",
		Args: []string{"-c", "echo after $greeting > $out"},
	}
	d.InputDerivations.Set(drvPath, derivation.OutputsOf("out"))
	d.Env.Set("name", "farewell")
	d.Env.Set("out", "")
	d.Env.Set("greeting", string(out.Path()))
	d.Outputs.Set("out", derivation.DeferredOutput())
	inputs := func(p storepath.Path) (derivation.ModuloHash, bool) {
		h, err := greeting.HashModulo(derivation.AsInput, nil, nil)
		return h, err == nil && p == drvPath
	}
	checkErr(t, d.FillOutputPaths(inputs, nil))
	return d, inputs
}

// download returns a derivation with a fixed output.
func download(t *testing.T) *derivation.Derivation {
	t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte("hello world")))
	checkErr(t, err)
	d := &derivation.Derivation{Name: "hello", Dir: storeDir, Platform: "builtin", Builder: "builtin:fetchurl"}
	d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
	d.Env.Set("name", "hello")
	d.Env.Set("out", "")
	d.Env.Set("outputHash", ca.Hash().Base16())
	d.Env.Set("outputHashAlgo", "sha256")
	d.Env.Set("outputHashMode", "flat")
	d.Env.Set("url", "https://example.org/hello")
	checkErr(t, d.FillOutputPaths(nil, nil))
	return d
}

// outPath returns the path of the output "out".
func outPath(d *derivation.Derivation) string {
	out, _ := d.Outputs.Get("out")
	return string(out.Path())
}

// modulo returns a text that was written by hand, and its hash, which must equal the hash from the library.
func modulo(t *testing.T, text string, d *derivation.Derivation, mode derivation.HashMode, inputs derivation.InputHashes) (string, string) {
	t.Helper()
	h, err := d.HashModulo(mode, inputs, nil)
	checkErr(t, err)
	if got := hexSHA256(text); got != h.Hash.Base16() {
		t.Errorf("the hash of %s is %s, want %s", text, got, h.Hash.Base16())
	}
	return text, h.Hash.Base16()
}

func TestDerivationsPage(t *testing.T) {
	text := greetingDrv(t)
	greeting, err := derivation.Parse(text)
	checkErr(t, err)
	greeting.Name = "greeting"
	own := outPath(greeting)
	masked, forOutputs := modulo(t, strings.ReplaceAll(text, own, ""), greeting, derivation.ForOutputs, nil)
	_, asInput := modulo(t, text, greeting, derivation.AsInput, nil)

	top, inputs := farewell(t)
	drvPath, err := greeting.Path()
	checkErr(t, err)
	topPath, err := top.Path()
	checkErr(t, err)
	hashed := strings.ReplaceAll(strings.ReplaceAll(top.String(), outPath(top), ""), string(drvPath), asInput)
	topMasked, topForOutputs := modulo(t, hashed, top, derivation.ForOutputs, inputs)

	fixed := download(t)
	inner := "fixed:out:sha256:" + hexSHA256("hello world") + ":" + outPath(fixed)
	_, fixedModulo := modulo(t, inner, fixed, derivation.AsInput, nil)

	floating := top.Clone()
	floating.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	floating.Env.Set("out", string(storepath.OwnPlaceholder("out")))

	check(t, "derivations.md", map[string]string{
		"text":      text,
		"path":      fingerprint{t, "greeting.drv"}.check("text:sha256", hexSHA256(text), drvPath, nil),
		"masked":    masked,
		"modulo":    forOutputs,
		"output":    fingerprint{t, "greeting"}.check("output:out:sha256", forOutputs, storepath.Path(own), nil),
		"as-input":  asInput,
		"top":       top.String(),
		"top-path":  fingerprint{t, "farewell.drv"}.check("text:"+string(drvPath)+":sha256", hexSHA256(top.String()), topPath, nil),
		"top-hash":  topMasked,
		"top-out":   fingerprint{t, "farewell"}.check("output:out:sha256", topForOutputs, storepath.Path(outPath(top)), nil),
		"fixed":     fixed.String(),
		"fixed-in":  table("inner text\t"+inner, "modulo hash\t"+fixedModulo),
		"floating":  floating.String(),
		"installed": table("<drv>^out\tone output", "<drv>^out,dev\ttwo outputs", "<drv>^*\tall outputs", "<drv>^out^dev\tthe output dev of a derivation that is the output out of another one", "<drv>!out\tthe same in older versions, and in the worker protocol"),
	})
}
