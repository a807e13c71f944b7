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

func ExampleParseDerivedPath() {
	path, err := derivation.ParseDerivedPath(storepath.DefaultDir, "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv^out,dev")
	if err != nil {
		panic(err)
	}
	fmt.Println(path)
	fmt.Println(path.LegacyString())
	fmt.Println(path.(derivation.Built).Outputs.Contains("dev"))
	// Output:
	// /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv^dev,out
	// /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-foo.drv!dev,out
	// true
}

func TestDerivedPaths(t *testing.T) {
	dir, foo := storepath.DefaultDir, string(p("foo.drv"))
	for in, want := range map[string]string{
		foo:                foo,
		foo + "^out":       foo + "^out",
		foo + "^b,a,b":     foo + "^a,b",
		foo + "^*":         foo + "^*",
		foo + "^out^dev":   foo + "^out^dev",
		foo + "^a^b^c^*":   foo + "^a^b^c^*",
		string(p("plain")): string(p("plain")),
	} {
		path, err := derivation.ParseDerivedPath(dir, in)
		if err != nil || path.String() != want || path.Base() != storepath.Path(in[:strings.IndexByte(in+"^", '^')]) {
			t.Errorf("%s: %v, %v", in, path, err)
			continue
		}
		legacy := strings.ReplaceAll(want, "^", "!")
		if got := path.LegacyString(); got != legacy {
			t.Errorf("%s: the legacy form is %s", in, got)
		}
		if again, err := derivation.ParseLegacyDerivedPath(dir, legacy); err != nil || again.String() != want {
			t.Errorf("%s: %v, %v", legacy, again, err)
		}
		text, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := derivation.DerivedPathFromJSON(dir, text); err != nil || again.String() != want {
			t.Errorf("%s: %v, %v", text, again, err)
		}
	}
	for _, bad := range []string{
		"", "^", "^out", foo + "^", foo + "^a,", foo + "^,", foo + "^a b", foo + "^^a", foo + "!out", "/gnu/store/" + foo[11:],
		foo[:30] + "^out", foo + "^*,a", foo + "^" + strings.Repeat("a^", 2000) + "b",
	} {
		var reason *storepath.Error
		if path, err := derivation.ParseDerivedPath(dir, bad); !errors.As(err, &reason) || path != nil {
			t.Errorf("%q: %v, %v", bad, path, err)
		}
	}
	for _, s := range []string{foo, foo + "^a", foo + "^a^b"} {
		if single, err := derivation.ParseSingleDerivedPath(dir, s); err != nil || single.String() != s {
			t.Errorf("%s: %v, %v", s, single, err)
		}
		legacy := strings.ReplaceAll(s, "^", "!")
		if single, err := derivation.ParseLegacySingleDerivedPath(dir, legacy); err != nil || single.LegacyString() != legacy {
			t.Errorf("%s: %v, %v", s, single, err)
		}
	}
	if _, err := derivation.ParseSingleDerivedPath(dir, foo+"^a,b"); err == nil {
		t.Error("two outputs were accepted as one")
	}
	for _, bad := range []string{``, `{}`, `1`, `null`, `"x"`, `{"drvPath":"x"}`, `{"drvPath":"` + foo[11:] + `","output":"a"}`, `{"drvPath":"` + foo[11:] + `","outputs":"a"}`,
		`{"DrvPath":"` + foo[11:] + `","outputs":["a"]}`, `{"drvPath":"` + foo[11:] + `","Outputs":["a"]}`, `{"drvPath":"` + foo[11:] + `","outputs":["a"],"outputs":["b"]}`,
		`{"drvPath":{"drvPath":"` + foo[11:] + `","Output":"a"},"outputs":["a"]}`, `{"drvPath":{"drvPath":"` + foo[11:] + `","output":null},"outputs":["a"]}`,
		strings.Repeat(`{"outputs":["a"],"drvPath":`, 2000)} {
		if path, err := derivation.DerivedPathFromJSON(dir, []byte(bad)); err == nil {
			t.Errorf("%s: %v", bad, path)
		}
	}
}

func TestOutputsSpecs(t *testing.T) {
	all, ab, a := derivation.AllOutputs(), derivation.NamedOutputs("b", "a"), derivation.NamedOutputs("a")
	if !all.Union(a).Equal(all) || !a.Union(ab).Equal(ab) || !a.Union(a).Equal(a) {
		t.Error("union")
	}
	for _, c := range []struct {
		less, more derivation.OutputsSpec
		want       bool
	}{{a, ab, true}, {ab, a, false}, {a, all, true}, {all, ab, false}, {all, all, true}} {
		if got := c.less.IsSubsetOf(c.more); got != c.want {
			t.Errorf("%v is a subset of %v: %v", c.less, c.more, got)
		}
	}
	if !all.Contains("x") || ab.Contains("x") || !ab.Contains("a") {
		t.Error("contains")
	}
	before, spec, err := derivation.CutOutputsSpec("nixpkgs#x^out,dev")
	if err != nil || before != "nixpkgs#x" || spec.String() != "^dev,out" {
		t.Errorf("%q, %v, %v", before, spec, err)
	}
	if _, _, err := derivation.CutOutputsSpec("x^a b"); err == nil {
		t.Error("an invalid name was accepted")
	}
	if before, spec, err := derivation.CutOutputsSpec("x"); before != "x" || spec.Explicit != nil || err != nil {
		t.Errorf("%q, %v, %v", before, spec, err)
	}
	var read derivation.OutputsSpec
	for _, bad := range []string{`null`, `"*"`, `[1]`, `{}`} {
		if err := json.Unmarshal([]byte(bad), &read); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
