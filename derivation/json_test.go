package derivation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

func ExampleDerivation_AppendShow() {
	d, err := derivation.Parse(`Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",["-c","<&>"],[("out","")])`)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", d.AppendShow(nil, "  "))
	// Output:
	// {
	//   "outputs": {
	//     "out": {
	//       "path": "",
	//       "hashAlgo": "r:sha256",
	//       "hash": ""
	//     }
	//   },
	//   "inputDrvs": {},
	//   "inputSrcs": [],
	//   "platform": "x86_64-linux",
	//   "builder": "/bin/sh",
	//   "args": [
	//     "-c",
	//     "<&>"
	//   ],
	//   "env": {
	//     "out": ""
	//   }
	// }
}

func TestShow(t *testing.T) {
	d := parse(t, "x", `DrvWithVersion("xp-dyn-drv",[("out","%A","sha256","`+zeros+`")],[("%A.drv",["dev","out"]),("%B.drv",(["out"],[("x",["y"])]))],["%C"],"p","b",[],[("é","`+"\xff"+`")])`)
	want := `{"name":"x","outputs":{"out":{"path":"%A","hashAlgo":"sha256","hash":"` + zeros + `"}},"inputDrvs":{"%A.drv":["dev","out"],"%B.drv":{"dynamicOutputs":{"x":{"dynamicOutputs":{},"outputs":["y"]}},"outputs":["out"]}},"inputSrcs":["%C"],"platform":"p","builder":"b","args":[],"env":{"é":"` + "\xff" + `"}}`
	if got := string(d.AppendShow(nil, "")); got != text(want) {
		t.Errorf("%s\nwant\n%s", got, text(want))
	}
	both := derivation.MapOf(derivation.Entry[storepath.Path, *derivation.Derivation]{Key: p("b.drv"), Value: d}, derivation.Entry[storepath.Path, *derivation.Derivation]{Key: p("a.drv"), Value: d})
	got := string(derivation.AppendShowDocument(nil, both, ""))
	if got != text(`{"%A.drv":`+want+`,"%B.drv":`+want+`}`) {
		t.Errorf("%s", got)
	}
}

// Bytes that are not UTF-8 are kept in versions that can represent them. In other versions the
// error has the field.
func TestJSONKeepsBytes(t *testing.T) {
	for field, s := range map[string]string{
		"builder":    `Derive([("out","","sha256","")],[],[],"p","` + "\x80" + `",[],[])`,
		"platform":   `Derive([("out","","sha256","")],[],[],"` + "\x80" + `","b",[],[])`,
		"args 1":     `Derive([("out","","sha256","")],[],[],"p","b",["é","` + "\xff\x00\x1f\x7f" + `"],[])`,
		`env "a"`:    `Derive([("out","","sha256","")],[],[],"p","b",[],[("a","` + "\xc3" + `")])`,
		`env "\xe9"`: `Derive([("out","","sha256","")],[],[],"p","b",[],[("` + "\xe9" + `","")])`,
	} {
		d := parse(t, "x", s)
		for version := derivation.JSONVersion1; version <= derivation.NewestJSONVersion; version++ {
			got, err := d.AppendJSON(nil, version, " ")
			var invalid *derivation.InvalidError
			if version >= derivation.JSONVersion3 {
				if !errors.As(err, &invalid) || invalid.Field != field {
					t.Errorf("%s in version %d: %v", field, version, err)
				}
				continue
			}
			again, err := derivation.ParseJSON(string(got), &derivation.JSONOptions{Name: "x"})
			if err != nil || again.String() != d.String() {
				t.Errorf("%s in version %d: %v\n%s", field, version, err, got)
			}
		}
	}
	if _, err := parse(t, "x", `Derive([("out","","sha256","")],[],[],"p","b",[],[])`).AppendJSON(nil, 5, ""); err == nil {
		t.Error("version 5 was accepted")
	}
}

func TestJSONStructured(t *testing.T) {
	d := parse(t, "x", `Derive([("out","","sha256","")],[],[],"p","b",[],[("__json","{ \"b\" : 1.0, \"a\":[1e5,10000000000000000000,-0.0,1e-5,\"\\u00e9\\ud83d\\ude00\\/\\u001f\\b\",null,true],\"b\":2 }")])`)
	attrs, ok, err := d.StructuredAttrs()
	if a, _ := attrs.Get("a"); !ok || err != nil || attrs.Len() != 2 || !strings.HasPrefix(a, "[1e5,") {
		t.Errorf("%v, %v, %v", attrs, ok, err)
	}
	want := `{"a":[100000.0,10000000000000000000,-0.0,1e-05,"é😀/\u001f\b",null,true],"b":2}`
	if got, ok, err := d.NormalizedStructuredAttrs(); got != want || !ok || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	form, err := d.AppendJSON(nil, derivation.JSONVersion4, "")
	if err != nil || !strings.Contains(string(form), `"structuredAttrs":`+want) || strings.Contains(string(form), "__json") {
		t.Errorf("%s, %v", form, err)
	}
	for _, bad := range []string{``, `[]`, `1`, `{`, `{}x`, `{"a":01}`, `{"a":.5}`, `{"a":1e999}`, `{"a":"\x"}`, `{"a":"\ud800"}`, "{\"a\":\"\t\"}", "{\"a\":\"\xff\"}", `{"a" 1}`, `{"a":1,}`, `{a:1}`, `{"a":nul}`, strings.Repeat(`[`, 200000), strings.Repeat(`{"a":`, 200000)} {
		d.Env.Set(derivation.StructuredAttrsKey, bad)
		var invalid *derivation.InvalidError
		if _, _, err := d.StructuredAttrs(); !errors.As(err, &invalid) {
			t.Errorf("%.20q was accepted: %v", bad, err)
		}
		if d.Validate() == nil {
			t.Errorf("%.20q is valid", bad)
		}
		if _, err := d.AppendJSON(nil, derivation.JSONVersion4, ""); err == nil {
			t.Errorf("%.20q was written", bad)
		}
		if _, err := d.AppendJSON(nil, derivation.JSONVersion2, ""); err != nil {
			t.Errorf("%.20q was not written: %v", bad, err)
		}
		if _, err := d.Options(); err == nil {
			t.Errorf("%.20q has options", bad)
		}
	}
	d.Env.Delete(derivation.StructuredAttrsKey)
	if _, ok, err := d.StructuredAttrs(); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

const inJSON = `{"outputs":{},"inputSrcs":[],"inputDrvs":{},"system":"s","builder":"b","args":[],"env":{}}`

// ParseJSON accepts more than Nix.
func TestJSONTolerance(t *testing.T) {
	output := func(s string) string { return strings.Replace(inJSON, `"outputs":{}`, `"outputs":{"out":`+s+`}`, 1) }
	inputs := func(s string) string {
		return text(strings.Replace(inJSON, `"inputSrcs":[],"inputDrvs":{}`, s, 1))
	}
	for _, c := range []struct{ what, json, want string }{
		{"nothing", inJSON, `Derive([],[],[],"s","b",[],[])`},
		{"a full path", output(text(`{"path":"%A"}`)), text(`Derive([("out","%A","","")],[],[],"s","b",[],[])`)},
		{"a path without directory", output(`{"path":"` + digits + `-a"}`), text(`Derive([("out","%A","","")],[],[],"s","b",[],[])`)},
		{"floating, old", output(`{"hashAlgo":"r:sha256"}`), `Derive([("out","","r:sha256","")],[],[],"s","b",[],[])`},
		{"floating, new", output(`{"hashAlgo":"sha256","method":"nar"}`), `Derive([("out","","r:sha256","")],[],[],"s","b",[],[])`},
		{"impure", output(`{"hashAlgo":"text:sha256","impure":true}`), `Derive([("out","","text:sha256","impure")],[],[],"s","b",[],[])`},
		{"impure: false", output(`{"hashAlgo":"sha256","impure":false,"path":null}`), `Derive([("out","","sha256","")],[],[],"s","b",[],[])`},
		{"deferred", output(`{}`), `Derive([("out","","","")],[],[],"s","b",[],[])`},
		{"inputs as lists", inputs(`"inputSrcs":["%B","%A"],"inputDrvs":{"%A.drv":["out","dev"]}`), text(`Derive([],[("%A.drv",["dev","out"])],["%A","%B"],"s","b",[],[])`)},
		{"inputs as objects", inputs(`"inputs":{"srcs":["%A"],"drvs":{"%A.drv":{"outputs":["out"],"dynamicOutputs":{"x":{"outputs":["y"],"dynamicOutputs":{}}}}}}`), text(`DrvWithVersion("xp-dyn-drv",[],[("%A.drv",(["out"],[("x",["y"])]))],["%A"],"s","b",[],[])`)},
		{"structured attributes", strings.Replace(inJSON, `"env":{}`, `"env":{"a":"b"},"structuredAttrs":{"z":1,"a":[ ]}`, 1), `Derive([],[],[],"s","b",[],[("__json","{\"a\":[],\"z\":1}"),("a","b")])`},
		{"structured attributes twice", strings.Replace(inJSON, `"env":{}`, `"env":{"__json":"{ }"},"structuredAttrs":{}`, 1), `Derive([],[],[],"s","b",[],[("__json","{ }")])`},
		{"a version", strings.Replace(inJSON, `{`, `{"version":3,"name":"x",`, 1), `Derive([],[],[],"s","b",[],[])`},
	} {
		d, err := derivation.ParseJSON(c.json, nil)
		if err != nil || d.String() != c.want {
			t.Errorf("%s: %v, %v\nwant %s", c.what, d, err, c.want)
		}
	}
	for _, hash := range []string{
		`"hash":"` + abcHex + `","hashAlgo":"r:sha256"`, `"hash":"` + abcHex + `","hashAlgo":"sha256","method":"nar"`,
		`"hash":"sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=","method":"nar"`, `"hash":"sha256:` + abcHex + `","method":"recursive"`,
	} {
		d, err := derivation.ParseJSON(output(`{`+hash+`}`), &derivation.JSONOptions{Name: "x"})
		if err != nil {
			t.Errorf("%s: %v", hash, err)
			continue
		}
		o, _ := d.Outputs.Get("out")
		if o.Kind() != derivation.Fixed || o.HashField() != abcHex || o.MethodAlgorithm() != "r:sha256" || o.Path().Name() != "x" {
			t.Errorf("%s: %v", hash, d)
		}
		if _, err := derivation.ParseJSON(output(`{`+hash+`,"path":"`+string(o.Path())+`"}`), &derivation.JSONOptions{Name: "x"}); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
		if _, err := derivation.ParseJSON(output(`{`+hash+`,"path":"`+string(o.Path())+`"}`), &derivation.JSONOptions{Name: "y"}); err == nil {
			t.Errorf("%s: a wrong path was accepted", hash)
		}
	}
}

func TestJSONDocuments(t *testing.T) {
	for _, s := range []string{
		`{"` + string(p("x.drv")) + `":` + inJSON + `}`,
		`{"` + digits + `-x.drv":` + inJSON + `}`,
		`{"derivations":{"` + digits + `-x.drv":` + inJSON + `},"version":4}`,
		`{"derivations":{"` + digits + `-x.drv":` + strings.Replace(inJSON, "{", `{"name":"x",`, 1) + `}}`,
	} {
		all, err := derivation.ParseJSONDocument(s, nil)
		if err != nil || all.Len() != 1 {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if path, d := all.At(0); path != p("x.drv") || d.Name != "x" {
			t.Errorf("%s: %s, %s", s, path, d.Name)
		}
		if d, err := derivation.ParseJSON(s, nil); err != nil || d.Name != "x" {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestParseJSONRejectsInvalid(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(inJSON, old, with, 1) }
	output := func(s string) string { return replace(`"outputs":{}`, `"outputs":{"out":`+s+`}`) }
	for _, c := range []struct{ text, want string }{
		{``, "the text ends"},
		{`[`, "the text ends"},
		{`[]`, "expected an object"},
		{`{}`, "expected one derivation, found 0"},
		{`{"x":` + inJSON + `}`, "too short"},
		{`{"` + digits + `-x":` + inJSON + `}`, "not a derivation"},
		{`{"` + digits + `-x.drv":` + replace("{", `{"name":"y",`) + `}`, `it is "y", but in the path it is "x"`},
		{`{"derivations":{},"version":5}`, "unknown version"},
		{`{"derivations":{},"version":4}`, "found 0"},
		{replace(`"system":"s",`, ``), "system: it is missing"},
		{replace(`"inputSrcs":[],`, ``), "inputs: it is missing"},
		{replace(`"inputSrcs":[],"inputDrvs":{}`, `"inputs":{"srcs":[]}`), "inputs.drvs: it is missing"},
		{replace(`{`, `{"x":1,`), "x: unknown member"},
		{replace(`"inputSrcs":[]`, `"inputSrcs":["x"]`), "inputSrcs"},
		{replace(`"inputSrcs":[]`, `"inputSrcs":[1]`), "expected a string, found a number"},
		{replace(`"inputDrvs":{}`, `"inputDrvs":{"x":[]}`), "inputDrvs.x"},
		{replace(`"inputDrvs":{}`, `"inputDrvs":{"`+digits+`-x.drv":1}`), "expected an object, found a number"},
		{replace(`"inputDrvs":{}`, `"inputDrvs":{"`+digits+`-x.drv":{"x":1}}`), "unknown member"},
		{replace(`"env":{}`, `"env":{"a":1}`), "env.a: expected a string"},
		{replace(`"env":{}`, `"env":{},"structuredAttrs":[]`), "expected an object"},
		{replace(`"args":[]`, `"args":{}`), "args: expected an array"},
		{replace(`"builder":"b"`, `"builder":null`), "builder: expected a string, found null"},
		{output(`{"x":1}`), "outputs.out.x"},
		{output(`{"path":"x"}`), "outputs.out.path"},
		{output(`{"path":1}`), "expected a string"},
		{output(`{"hashAlgo":"x"}`), "unknown hash algorithm"},
		{output(`{"method":"x","hashAlgo":"sha256"}`), "unknown content-address method"},
		{output(`{"method":"nar"}`), "hashAlgo: it is missing"},
		{output(`{"impure":true}`), "method: it is missing"},
		{output(`{"hash":"x"}`), "method: it is missing"},
		{output(`{"hash":"x","hashAlgo":"sha256"}`), "outputs.out.hash"},
		{output(`{"hash":"` + abcHex + `","hashAlgo":"sha256","impure":true}`), "both fixed and impure"},
		{output(`{"hash":"sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=","hashAlgo":"sha256","method":"nar"}`), "algorithm"},
		{output(`{"path":"` + string(p("x")) + `","hashAlgo":"sha256"}`), "has a path"},
		{output(text(`{"path":"%G"}`)), "not in the store directory"},
		{inJSON + "x", "text after the value"},
		{replace(`"inputDrvs":{}`, `"inputDrvs":{"`+digits+`-x.drv":`+strings.Repeat(`{"dynamicOutputs":{"x":`, 200_000)), "nested more than"},
	} {
		_, err := derivation.ParseJSON(c.text, nil)
		var bad *derivation.JSONError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200s: %v, want %q in it", c.text, err, c.want)
		}
	}
}

// encoding/json uses the newest version.
func TestMarshal(t *testing.T) {
	d := parse(t, "x", `Derive([("out","","sha256","")],[],[],"s","b",[],[])`)
	got, err := json.Marshal(d)
	if err != nil || !strings.Contains(string(got), `"version":4`) {
		t.Errorf("%s, %v", got, err)
	}
	if text, err := d.MarshalText(); err != nil || string(text) != d.String() {
		t.Errorf("%s, %v", text, err)
	}
}
