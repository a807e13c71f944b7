package explain_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
	"pix/storepath"
)

// A fakePackages adds derivations to texts.
type fakePackages struct {
	t *testing.T
	texts
}

// add adds a derivation with inputs, and returns it.
func (f fakePackages) add(name, version string, inputs ...explain.Drv) explain.Drv {
	f.t.Helper()
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("version", version)
	for i, in := range inputs {
		d.InputDerivations.Set(in.Path, derivation.OutputsOf("out"))
		o, _ := in.Outputs.Get("out")
		d.Env.Set("input"+string(rune('A'+i)), string(o.Path()))
	}
	return f.finish(d)
}

// fetch adds a derivation with a fixed output.
func (f fakePackages) fetch(name, url, contents string) explain.Drv {
	f.t.Helper()
	ca, err := storepath.NewContentAddress(storepath.Flat, nixhash.Sum(nixhash.SHA256, []byte(contents)))
	if err != nil {
		f.t.Fatal(err)
	}
	d := &derivation.Derivation{Name: name, Dir: storepath.DefaultDir, Platform: "builtin", Builder: "builtin:fetchurl"}
	d.Outputs.Set("out", derivation.FixedOutput(ca, ""))
	d.Env.Set("url", url)
	d.Env.Set("outputHash", ca.Hash().SRI())
	return f.finish(d)
}

func (f fakePackages) finish(d *derivation.Derivation) explain.Drv {
	f.t.Helper()
	inputs, err := derivation.LoadInputHashes(f.t.Context(), f, d)
	if err != nil {
		f.t.Fatal(err)
	}
	d.Env.Set("out", "")
	if err := d.FillOutputPaths(inputs, nil); err != nil {
		f.t.Fatal(err)
	}
	return f.store(d)
}

// store adds a finished derivation.
func (f fakePackages) store(d *derivation.Derivation) explain.Drv {
	f.t.Helper()
	path, err := d.Path()
	if err != nil {
		f.t.Fatal(err)
	}
	f.texts[path] = d.String()
	return explain.Drv{Path: path, Derivation: d, Inputs: f}
}

func TestCompare(t *testing.T) {
	f := fakePackages{t, texts{}}
	lib := f.add("lib", "1")
	a, b := f.add("tool", "1", lib), f.add("tool", "2", lib)
	c := explain.Compare(explainDrv(t, f, a.Path), explainDrv(t, f, b.Path))
	first := c.First()
	if first == nil || first.Name != explain.StepModulo || !strings.HasSuffix(first.Before[0], `("version","`) ||
		!strings.HasPrefix(first.After[0], `1")`) || !strings.HasPrefix(first.After[1], `2")`) {
		t.Fatalf("the first difference is %+v", first)
	}
	for _, s := range c.Steps {
		if s.Name == explain.StepFingerprint && s.Output == "out" && s.Status != explain.Consequence {
			t.Errorf("the fingerprint is %s", s.Status)
		}
	}
	if text := string(c.AppendText(nil, nil)); !strings.Contains(text, "The modulo hash: differs at byte ") || !strings.Contains(text, "follow from it: The fingerprint (out)") {
		t.Errorf("the text is %s", text)
	}
	if c := explain.Compare(explainDrv(t, f, a.Path), explainDrv(t, f, a.Path)); c.First() != nil {
		t.Errorf("equal derivations differ in %+v", c.First())
	}
}

// Subjects with bytes that are not UTF-8 stay different in JSON, and only the full text has long names.
func TestCompareForms(t *testing.T) {
	f := fakePackages{t, texts{}}
	name := strings.Repeat("x", 190)
	a := explainDrv(t, f, f.add("tool", "1", f.add(name, "1")).Path)
	b := explainDrv(t, f, f.add("tool", "1", f.add(name, "2")).Path)
	a.Subject, b.Subject = "\xfe", "\xff"
	c := explain.Compare(a, b)
	if text, err := json.Marshal(c); err != nil || !strings.HasPrefix(string(text), `{"a":"\\xfe","b":"\\xff",`) {
		t.Errorf("%.40s, %v", text, err)
	}
	for full, want := range map[bool]int{false: 0, true: 2} {
		text := string(c.AppendText(nil, &explain.TextOptions{Full: full}))
		if n := strings.Count(text, "in /nix/store/"); n == 0 || strings.Count(text, name+".drv (hashed)") != want {
			t.Errorf("full %v: %s", full, text)
		}
	}
}

// The hash of an input differs: the input is named.
func TestCompareNamesInput(t *testing.T) {
	f := fakePackages{t, texts{}}
	libA, libB := f.add("lib", "1"), f.add("lib", "2")
	c := explain.Compare(explainDrv(t, f, f.add("tool", "1", libA).Path), explainDrv(t, f, f.add("tool", "1", libB).Path))
	first := c.First()
	if first == nil || first.In[0] == nil || first.In[0].Name != string(libA.Path) || first.In[1].Name != string(libB.Path) {
		t.Errorf("the first difference is %+v", first)
	}
}

func TestWhyRebuilt(t *testing.T) {
	f := fakePackages{t, texts{}}
	src, moved, patched := f.fetch("src", "https://a.example", "x"), f.fetch("src", "https://b.example", "x"), f.fetch("src", "https://a.example", "y")
	tool := func(version string, src explain.Drv) explain.Drv {
		lib := f.add("lib", version, src)
		return f.add("tool", "1", f.add("middle", "1", lib), lib)
	}
	old := tool("1", src)
	for _, c := range []struct {
		name           string
		current        explain.Drv
		causes, chains string
		cascade        string
	}{
		{"nothing", old, "", "", ""},
		{"moved source", tool("1", moved), "", "", ""},
		{"library", tool("2", moved), "variable version of lib", "tool lib", "tool middle"},
		{"source", tool("1", patched), "output out of src", "tool lib src", "tool lib middle"},
		{"both", tool("3", patched), "variable version of lib, output out of src", "tool lib, tool lib src", "tool middle"},
	} {
		r, err := explain.WhyRebuilt(t.Context(), old, c.current)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var causes, chains []string
		for _, cause := range r.Causes {
			causes = append(causes, cause.String())
			chains = append(chains, names(cause.Chain))
		}
		if r.Same != (c.causes == "") || strings.Join(causes, ", ") != c.causes || strings.Join(chains, ", ") != c.chains || names(r.Cascade) != c.cascade {
			t.Errorf("%s: same %v, causes %q, chains %q, cascade %s", c.name, r.Same, causes, chains, names(r.Cascade))
		}
		text := string(r.AppendText(nil, nil))
		if !r.Same && !strings.Contains(text, "1. "+causes[0]) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// names are the names of derivations.
func names(paths []storepath.Path) string {
	var all []string
	for _, p := range paths {
		all = append(all, strings.TrimSuffix(p.Name(), ".drv"))
	}
	return strings.Join(all, " ")
}

func TestAffects(t *testing.T) {
	f := fakePackages{t, texts{}}
	curl := f.add("curl", "1")
	src := f.fetch("src", "https://a.example", "x")
	src.InputDerivations.Set(curl.Path, derivation.OutputsOf("out"))
	src = f.finish(src.Derivation)
	tool := f.add("tool", "1", f.add("lib", "1", src))
	delete(f.texts, tool.Path) // its file has another name
	i, err := explain.Affects(t.Context(), tool)
	if err != nil {
		t.Fatal(err)
	}
	affecting := strings.Fields(names(i.Affecting))
	slices.Sort(affecting)
	if strings.Join(affecting, " ") != "lib src tool" || names(i.Others) != "curl" {
		t.Errorf("affecting %q, others %q", affecting, names(i.Others))
	}
	if text := string(i.AppendText(nil, nil)); !strings.Contains(text, "derivations that are only needed for the build: 1\n   "+string(curl.Path)+"\n") {
		t.Errorf("the text is %s", text)
	}
}

// A deferred derivation whose inputs are not built has no output paths, and the explanation says why.
func TestUnresolved(t *testing.T) {
	f := fakePackages{t, texts{}}
	d := &derivation.Derivation{Name: "floating", Dir: storepath.DefaultDir, Platform: "x", Builder: "x"}
	d.Outputs.Set("out", derivation.FloatingOutput(storepath.NAR, nixhash.SHA256))
	floating := f.finish(d)
	tool := f.add("tool", "1", floating)
	e := explainDrv(t, f, tool.Path)
	if s := stepOf(t, e, explain.StepResolved, ""); s.Op != explain.OpShow || e.Kind != "deferred derivation" || len(e.Problems) > 0 {
		t.Errorf("the explanation is %+v", e)
	}
	if in := stepOf(t, e, explain.StepModulo, "").Inputs[0]; in.Reason != explain.ReasonDeferred {
		t.Errorf("the reason for the input is %s", in.Reason)
	}
}

// Thousands of outputs, and a deep chain of inputs with a cause in each, take neither long nor much memory.
func TestManyOutputs(t *testing.T) {
	many := func(version string) *explain.Explanation {
		d := &derivation.Derivation{Name: "many", Dir: storepath.DefaultDir, Platform: "x", Builder: version}
		for i := range 1000 {
			d.Outputs.Set("out"+strconv.Itoa(i), derivation.DeferredOutput())
		}
		if err := d.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		path, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		e, err := explain.Derivation(t.Context(), explain.Drv{Path: path, Derivation: d, Inputs: texts{}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	a, b := many("1"), many("2")
	c := explain.Compare(a, b)
	if first := c.First(); first == nil || first.Name != explain.StepModulo {
		t.Errorf("the first difference is %+v", first)
	}
	for _, s := range c.Steps {
		if s.Name == explain.StepPath && s.Output != "" && s.Status != explain.Consequence {
			t.Fatalf("the path of %s is %s", s.Output, s.Status)
		}
	}
	script, err := a.Script(t.TempDir())
	if err != nil || len(script.Text) < 200_000 {
		t.Errorf("the script has %d bytes: %v", len(script.Text), err)
	}
}

func TestDeepRebuild(t *testing.T) {
	f := fakePackages{t, texts{}}
	chain := func(version string) (last explain.Drv) {
		last = f.add("p0", version)
		for i := range 200 {
			last = f.add("p"+strconv.Itoa(i+1), version, last)
		}
		return last
	}
	r, err := explain.WhyRebuilt(t.Context(), chain("1"), chain("2"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Causes) != 201 || len(r.Causes[200].Chain) != 32 || r.Causes[200].Chain[31].Name() != "p0.drv" {
		t.Errorf("%d causes, the last %v", len(r.Causes), names(r.Causes[len(r.Causes)-1].Chain))
	}
}
