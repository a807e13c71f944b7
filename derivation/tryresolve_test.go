package derivation_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/derivation"
	"pix/internal/testenv"
	"pix/storepath"
)

// Resolved derivations have an array of inputs in the JSON of Nix 2.36. They equal the result of
// Resolve.
func TestGoldenResolved(t *testing.T) {
	folder := testenv.MoreNixData(t, "store/derivation/try-resolve")
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	names, err := filepath.Glob(filepath.Join(folder, "*-before.json"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, file := range names {
		name := strings.TrimSuffix(filepath.Base(file), "-before.json")
		t.Run(name, func(t *testing.T) {
			before, err := derivation.ParseJSON(read(name+"-before.json"), nil)
			if err != nil {
				t.Fatal(err)
			}
			var entries [][2]json.RawMessage
			if err := json.Unmarshal([]byte(read(name+"-buildTrace.json")), &entries); err != nil {
				t.Fatal(err)
			}
			trace := make(map[string]storepath.Path)
			for _, e := range entries {
				var key struct{ DrvPath, Output string }
				var out string
				if err := errors.Join(json.Unmarshal(e[0], &key), json.Unmarshal(e[1], &out)); err != nil {
					t.Fatal(err)
				}
				trace["/nix/store/"+key.DrvPath+"^"+key.Output] = storepath.Path("/nix/store/" + out)
			}
			got, err := before.Resolve(func(drv derivation.SingleDerivedPath, output string) (storepath.Path, bool) {
				path, ok := trace[drv.String()+"^"+output]
				return path, ok
			})
			after := name + "-after.json"
			if _, err := os.Stat(filepath.Join(folder, after)); err != nil {
				after = name + "-resolved.json"
			}
			if name == "resolution-failure" {
				var unknown *derivation.UnresolvedError
				if !errors.As(err, &unknown) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := derivation.ParseJSON(read(after), nil)
			if err != nil {
				t.Fatal(err)
			}
			if want.InputDerivations.Len() != 0 || got.String() != want.String() {
				t.Errorf("%s\nwant\n%s", got, want)
			}
		})
	}
}

// A derivation without input derivations may have an array of sources.
func TestParseJSONOfResolved(t *testing.T) {
	const text = `{"args":[],"builder":"/b","env":{},"inputs":["f1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-dep"],"name":"x","outputs":{"out":{"hashAlgo":"sha256","method":"nar"}},"system":"y","version":4}`
	d, err := derivation.ParseJSON(text, nil)
	if err != nil || d.InputDerivations.Len() != 0 || d.InputSources.Len() != 1 || d.InputSources.At(0) != "/nix/store/f1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-dep" {
		t.Errorf("%v, %v", d, err)
	}
	if d, err := derivation.ParseJSON(strings.Replace(text, `["f1w7`, `["../f1w7`, 1), nil); err == nil {
		t.Errorf("%v is accepted", d)
	}
}
