package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// other returns a store path with the given name and another hash part.
func other(name string) storepath.Path {
	path, err := storepath.DefaultDir.ParseBase(strings.Repeat("0", len(digits)) + "-" + name)
	if err != nil {
		panic(err)
	}
	return path
}

func mustParse(t *testing.T, s string) *derivation.Derivation {
	t.Helper()
	d, err := derivation.Parse(text(s))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// describe formats changes and inputs as a short text.
func describe(d *derivation.Difference) string {
	var s strings.Builder
	for _, c := range d.Changes {
		fmt.Fprintf(&s, "%s %s:", c.Field, c.Key)
		if c.InA {
			fmt.Fprintf(&s, " -%s", c.A)
		}
		if c.InB {
			fmt.Fprintf(&s, " +%s", c.B)
		}
		if c.HashesOnly {
			s.WriteString(" (hashes)")
		}
		s.WriteByte('\n')
	}
	for _, in := range d.Inputs {
		fmt.Fprintf(&s, "input %s:", in.Name)
		if in.A != "" {
			fmt.Fprintf(&s, " -%s^%s", in.A.Base()[:2], strings.Join(in.OutputsA.Names.Slice(), ","))
		}
		if in.B != "" {
			fmt.Fprintf(&s, " +%s^%s", in.B.Base()[:2], strings.Join(in.OutputsB.Names.Slice(), ","))
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func TestDiff(t *testing.T) {
	const least = `Derive([("out","","","")],[],[],"p","b",[],[])`
	zero := "/nix/store/" + strings.Repeat("0", len(digits)) + "-"
	for what, c := range map[string]struct{ a, b, want string }{
		"nothing":           {least, least, ""},
		"platform, builder": {least, `Derive([("out","","","")],[],[],"q","c",[],[])`, "platform : -p +q\nbuilder : -b +c\n"},
		"outputs": {
			`Derive([("dev","","",""),("out","%A","","")],[],[],"p","b",[],[])`,
			`Derive([("lib","","",""),("out","%B","","")],[],[],"p","b",[],[])`,
			"output dev: -\noutput lib: +\noutput out: -/nix/store/" + digits + "-a +/nix/store/" + digits + "-b\n",
		},
		"an output's hash": {
			`Derive([("out","%A","sha256","` + zeros + `")],[],[],"p","b",[],[])`,
			`Derive([("out","%A","r:sha256","` + zeros + `")],[],[],"p","b",[],[])`,
			"output out: -/nix/store/" + digits + "-a sha256 " + zeros + " +/nix/store/" + digits + "-a r:sha256 " + zeros + "\n",
		},
		"arguments": {
			`Derive([("out","","","")],[],[],"p","b",["-e","x","same","gone"],[])`,
			`Derive([("out","","","")],[],[],"p","b",["-e","y","same"],[])`,
			"argument 2: -x +y\nargument 4: -gone\n",
		},
		"variables": {
			`Derive([("out","","","")],[],[],"p","b",[],[("a","1"),("b","%A/x"),("c","")])`,
			`Derive([("out","","","")],[],[],"p","b",[],[("a","2"),("b","` + zero + `a/x"),("d","")])`,
			"variable a: -1 +2\nvariable b: -/nix/store/" + digits + "-a/x +" + zero + "a/x (hashes)\nvariable c: -\nvariable d: +\n",
		},
		"sources": {
			`Derive([("out","","","")],[],["%A","%B"],"p","b",[],[])`,
			`Derive([("out","","","")],[],["` + zero + `a","` + zero + `c"],"p","b",[],[])`,
			"source a: -/nix/store/" + digits + "-a +" + zero + "a (hashes)\nsource b: -/nix/store/" + digits + "-b\nsource c: +" + zero + "c\n",
		},
		"inputs": {
			`Derive([("out","","","")],[("%A-1.0.drv",["out"]),("%B.drv",["out"]),("%C-x.drv",["out"])],[],"p","b",[],[])`,
			`Derive([("out","","","")],[("` + zero + `a-2.0.drv",["dev","out"]),("` + zero + `d.drv",["out"]),("%B.drv",["dev"])],[],"p","b",[],[])`,
			"input a-1.0: -g1^out +00^dev,out\ninput b: -g1^out +g1^dev\ninput c-x: -g1^out\ninput d: +00^out\n",
		},
		"inputs of one name are matched by their outputs": {
			`Derive([("out","","","")],[("%A.drv",["dev"]),("%B.drv",["out"])],[],"p","b",[],[])`,
			`Derive([("out","","","")],[("` + zero + `a.drv",["dev"]),("` + zero + `b.drv",["out"])],[],"p","b",[],[])`,
			"input a: -g1^dev +00^dev\ninput b: -g1^out +00^out\n",
		},
	} {
		a, b := mustParse(t, c.a), mustParse(t, c.b)
		got := derivation.Diff(a, b)
		if describe(got) != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", what, describe(got), c.want)
		}
		if got.IsEmpty() != a.Equal(b) {
			t.Errorf("%s: empty is %v, equal is %v", what, got.IsEmpty(), a.Equal(b))
		}
	}
}

// fromMap returns a loader that reads from a map.
func fromMap(texts map[storepath.Path]string) derivation.Loader {
	return derivation.LoaderFunc(func(_ context.Context, path storepath.Path) (string, error) {
		if s, ok := texts[path]; ok {
			return text(s), nil
		}
		return "", fs.ErrNotExist
	})
}

// dependent returns a derivation with an environment variable and some inputs.
func dependent(value string, inputs ...storepath.Path) *derivation.Derivation {
	d := &derivation.Derivation{Dir: storepath.DefaultDir}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("v", value)
	for _, in := range inputs {
		d.InputDerivations.Set(in, derivation.OutputsOf("out"))
	}
	return d
}

// The input that differs is reachable on two paths and is compared once. An input is missing.
func TestDiffClosure(t *testing.T) {
	loader := fromMap(map[storepath.Path]string{
		p("left.drv"):      dependent("l", p("deep.drv")).String(),
		other("left.drv"):  dependent("l", other("deep.drv")).String(),
		p("right.drv"):     dependent("r", p("deep.drv"), p("gone.drv")).String(),
		other("right.drv"): dependent("r", other("deep.drv"), other("gone.drv")).String(),
		p("deep.drv"):      dependent("1").String(),
		other("deep.drv"):  dependent("2").String(),
	})
	a, b := dependent("", p("left.drv"), p("right.drv")), dependent("", other("left.drv"), other("right.drv"))
	d, err := derivation.DiffClosure(t.Context(), a, loader, b, loader, nil)
	if err != nil {
		t.Fatal(err)
	}
	left, right := d.Inputs[0].Difference, d.Inputs[1].Difference
	if left == nil || right == nil || left.A != p("left.drv") || left.B != other("left.drv") {
		t.Fatalf("the inputs were not compared: %+v", d.Inputs)
	}
	if got, want := describe(left.Inputs[0].Difference), "variable v: -1 +2\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if right.Inputs[0].Difference != left.Inputs[0].Difference {
		t.Error("a pair that occurs twice was compared twice")
	}
	var missing *derivation.LoadError
	if err := right.Inputs[1].Err; !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) || missing.Path != p("gone.drv") {
		t.Errorf("the missing input: %v", err)
	}
	for depth, want := range map[int]string{-1: "00", 1: "10", 2: "11"} {
		d, err := derivation.DiffClosure(t.Context(), a, loader, b, loader, &derivation.DiffOptions{Depth: depth})
		if err != nil {
			t.Fatal(err)
		}
		got := "00"
		if left := d.Inputs[0].Difference; left != nil {
			got = "10"
			if left.Inputs[0].Difference != nil {
				got = "11"
			}
		}
		if got != want {
			t.Errorf("depth %d: %s, want %s", depth, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := derivation.DiffClosure(ctx, a, loader, b, loader, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}

// A long chain does not overflow the stack, and a cycle ends.
func TestDiffClosureDeep(t *testing.T) {
	const length = 5000
	texts := map[storepath.Path]string{}
	for i := range length {
		next := fmt.Sprintf("n%d.drv", (i+1)%length)
		texts[p(fmt.Sprintf("n%d.drv", i))] = dependent("1", p(next)).String()
		texts[other(fmt.Sprintf("n%d.drv", i))] = dependent("2", other(next)).String()
	}
	loader := fromMap(texts)
	d, err := derivation.DiffClosure(t.Context(), dependent("", p("n0.drv")), loader, dependent("", other("n0.drv")), loader, nil)
	if err != nil {
		t.Fatal(err)
	}
	levels := 0
	for first := d.Inputs[0].Difference; d.Inputs[0].Difference != first || levels == 0; levels++ {
		d = d.Inputs[0].Difference
	}
	if levels != length {
		t.Errorf("after %d levels the first derivation occurs again, want %d", levels, length)
	}
}

func ExampleDiff() {
	a, _ := derivation.Parse(`Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("version","2.10")])`)
	b, _ := derivation.Parse(`Derive([("out","","","")],[],[],"x86_64-linux","/bin/sh",[],[("version","2.12")])`)
	for _, change := range derivation.Diff(a, b).Changes {
		fmt.Println(change.Field, change.Key, change.Edits())
	}
	// Output: variable version [{removed 2.10} {added 2.12}]
}
