package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// The results of Nix 2.34.8 for added derivations, with its exact texts.
func TestCheckOutputs(t *testing.T) {
	const (
		right = "/nix/store/s668cfx1vrqfjryf96jj8wfhg7f67dhj-x"
		wrong = "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"
		fixed = "/nix/store/i8yf3p9li8bd9rwjsr5nkg63lxs367am-f"
		x     = `Derive([("out","` + right + `","","")],[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","x"),("out","` + right + `"),("system","x86_64-linux")])`
		f     = `Derive([("out","` + fixed + `","sha256","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","f"),("out","` + fixed + `"),("system","x86_64-linux")])`

		deferred = "derivation has incorrect deferred output, should be '" + right + "'.\nThis will be an error in future versions of Nix; compatibility of CA derivations will be broken."
	)
	replace := strings.ReplaceAll
	for name, c := range map[string]struct {
		drv, text string
		known     storepath.Path
		warning   string
		err       string
	}{
		"right":                  {drv: "x", text: x, known: right},
		"wrong path":             {drv: "x", text: replace(x, right, wrong), err: "derivation has incorrect output '" + wrong + "', should be '" + right + "'"},
		"another name":           {drv: "y", text: x, err: "derivation has incorrect output '" + right + "', should be '/nix/store/8giyjprhi6a8qi108m1x9z5p8p528ly4-y'"},
		"wrong variable":         {drv: "x", text: replace(x, `("out","`+right+`")`, `("out","`+wrong+`")`), known: right}, // Nix ignores it
		"no variable":            {drv: "x", text: replace(x, `,("out","`+right+`")`, ""), err: "derivation has incorrect output '" + right + "', should be '/nix/store/ny75q7s754q9qf1110190djrwqvzhnz1-x'"},
		"deferred":               {drv: "x", text: replace(x, right, ""), warning: deferred, err: "derivation has incorrect environment variable 'out', should be '" + right + "' but is actually ''"},
		"deferred with variable": {drv: "x", text: replace(x, `"`+right+`","",""`, `"","",""`), warning: deferred},
		"fixed":                  {drv: "f", text: f, known: fixed},
		"fixed, wrong path":      {drv: "f", text: replace(f, `"`+fixed+`","sha256"`, `"`+wrong+`","sha256"`), known: fixed},
		"fixed, wrong variable":  {drv: "f", text: replace(f, `("out","`+fixed+`")`, `("out","`+wrong+`")`), err: "derivation has incorrect environment variable 'out', should be '" + fixed + "' but is actually '" + wrong + "'"},
		"fixed, no variable":     {drv: "f", text: replace(f, `,("out","`+fixed+`")`, ""), err: "derivation has missing environment variable 'out', should be '" + fixed + "' but is not present"},
		"fixed, another output":  {drv: "f", text: replace(f, `"out"`, `"lib"`), err: "derivation has incorrect environment variable 'lib', should be '/nix/store/azdsi1fs52vlx5c95vx9rx5nshn3h58w-f-lib' but is actually '" + fixed + "'"},
		"mixed":                  {drv: "f", text: replace(f, `[("out"`, `[("dev","`+right+`","",""),("out"`), err: "can't mix derivation output types"},
		"no outputs":             {drv: "x", text: replace(x, `("out","`+right+`","","")`, ""), err: "must have at least one output"},
		"floating":               {drv: "x", text: replace(replace(x, `"`+right+`","",""`, `"","r:sha256",""`), right, "")},
	} {
		t.Run(name, func(t *testing.T) {
			path := storepath.Path("/nix/store/p7n9lvmd5qcqibr5c0avmiav4vfhx68f-" + c.drv + ".drv")
			d, err := store.ParseDerivation(path, c.text)
			if err != nil {
				t.Fatal(err)
			}
			none := func(storepath.Path) (h derivation.ModuloHash, ok bool) { return h, false }
			known, warnings, err := store.CheckOutputs(path, d, none)
			if c.err != "" {
				said, ok := errors.AsType[*activity.Error](err)
				if !ok || said.Message != c.err || !slices.Equal(said.Traces, []string{"while checking derivation '" + string(path) + "'"}) {
					t.Errorf("the error is %v, want %q", err, c.err)
				}
			} else if err != nil {
				t.Error(err)
			} else if got, _ := known.Get("out"); got != c.known {
				t.Errorf("the path is %q, want %q", got, c.known)
			}
			if want := slices.DeleteFunc([]string{c.warning}, func(w string) bool { return w == "" }); !slices.Equal(warnings, want) {
				t.Errorf("the warnings are %q, want %q", warnings, want)
			}
		})
	}
	const begin = "error parsing derivation '/nix/store/p7n9lvmd5qcqibr5c0avmiav4vfhx68f-x.drv': "
	for text, want := range map[string]string{
		"":                begin + "file is empty (possible filesystem corruption)",
		"x":               begin + "expected string 'D'",
		"De":              begin + "expected string 'erive('",
		"DrvWith":         begin + "expected string 'rvWithVersion('",
		"Dx":              "derivation does not start with 'Derive' or 'DrvWithVersion'",
		"Derive(nonsense": begin + "expected string '['",
		x[:90]:            begin + "unterminated string in derivation",
	} {
		_, err := store.ParseDerivation("/nix/store/p7n9lvmd5qcqibr5c0avmiav4vfhx68f-x.drv", text)
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
