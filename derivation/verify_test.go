package derivation_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/derivation"
	"pix/storepath"
)

// A drvStore is a folder of derivations with the right names.
type drvStore struct {
	t   *testing.T
	dir string
}

// add fills in the output paths, writes the file, and returns its path.
func (s drvStore) add(d *derivation.Derivation) storepath.Path {
	s.t.Helper()
	roots := slices.Collect(d.InputDerivations.Keys())
	c, err := derivation.LoadClosure(s.t.Context(), derivation.Directory(s.dir), roots, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	inputs, err := c.InputHashes(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.FillOutputPaths(inputs, nil); err != nil {
		s.t.Fatal(err)
	}
	return s.write(d)
}

// write writes the file unchanged.
func (s drvStore) write(d *derivation.Derivation) storepath.Path {
	s.t.Helper()
	path, err := d.Path()
	if err != nil {
		s.t.Fatal(err)
	}
	s.file(path.Base(), d.String())
	return path
}

func (s drvStore) file(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o666); err != nil {
		s.t.Fatal(err)
	}
}

// drv returns a derivation with these inputs.
func drv(t *testing.T, name, output string, inputs ...storepath.Path) *derivation.Derivation {
	d := parse(t, name, `Derive([("out",`+output+`)],[],[],"s","b",[],[("out","")])`)
	for _, in := range inputs {
		d.InputDerivations.Set(in, derivation.OutputsOf("out"))
	}
	return d
}

const (
	deferredOutput = `"","",""`
	floatingOutput = `"","r:sha256",""`
	fixedOutput    = `"/x","sha256","` + zeros + `"`
)

// verify returns the results by the name of the derivation.
func (s drvStore) verify() map[string]derivation.VerifyResult {
	s.t.Helper()
	names, err := derivation.Directory(s.dir).Files()
	if err != nil {
		s.t.Fatal(err)
	}
	last := 0
	results, err := derivation.Verify(s.t.Context(), derivation.Directory(s.dir), names, &derivation.VerifyOptions{Progress: func(done, total int) {
		if done < last || done > total {
			s.t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]derivation.VerifyResult{}
	for i, r := range results {
		if r.File != names[i] {
			s.t.Errorf("%s is in the position of %s", r.File, names[i])
		}
		all[r.File[33:]] = r
	}
	return all
}

func (s drvStore) expect(what string, want map[string]string) {
	s.t.Helper()
	results := s.verify()
	for name, r := range results {
		status, reason, _ := strings.Cut(want[name], ": ")
		if r.Status.String() != status || (len(r.Problems) == 0) != (status == "verified") || !strings.Contains(fmt.Sprint(r.Problems), reason) {
			s.t.Errorf("%s: %s is %s, want %q: %v", what, name, r.Status, want[name], r.Problems)
		}
	}
	if len(results) != len(want) {
		s.t.Errorf("%s: %d results", what, len(results))
	}
}

// chain creates a chain a ← b ← c, a floating f with dependent d, and a fixed x that depends on c.
func chain(t *testing.T) (s drvStore, paths map[string]storepath.Path) {
	s = drvStore{t, t.TempDir()}
	paths = map[string]storepath.Path{}
	paths["a"] = s.add(drv(t, "a", deferredOutput))
	paths["b"] = s.add(drv(t, "b", deferredOutput, paths["a"]))
	paths["c"] = s.add(drv(t, "c", deferredOutput, paths["b"]))
	paths["f"] = s.add(drv(t, "f", floatingOutput, paths["a"]))
	paths["d"] = s.add(drv(t, "d", deferredOutput, paths["f"], paths["c"]))
	paths["x"] = s.add(drv(t, "x", fixedOutput, paths["c"]))
	return s, paths
}

func everything(with map[string]string) map[string]string {
	want := map[string]string{"a.drv": "verified", "b.drv": "verified", "c.drv": "verified", "d.drv": "verified", "f.drv": "verified", "x.drv": "verified"}
	for name, status := range with {
		want[name] = status
		if status == "" {
			delete(want, name)
		}
	}
	return want
}

func TestVerify(t *testing.T) {
	s, paths := chain(t)
	s.expect("all is well", everything(nil))

	// An input is missing. Its dependents are skipped, except fixed, floating and deferred ones,
	// which do not need it.
	if err := os.Rename(filepath.Join(s.dir, paths["a"].Base()), filepath.Join(s.dir, "away")); err != nil {
		t.Fatal(err)
	}
	s.expect("a is missing", everything(map[string]string{
		"a.drv": "", "b.drv": "skipped: -a.drv is missing", "c.drv": "skipped: -b.drv has no hash",
	}))

	// A changed byte: the file does not match its name, so its dependents are skipped.
	changed := strings.Replace(read(t, s.dir, "away"), `"b"`, `"B"`, 1)
	s.file(paths["a"].Base(), changed)
	s.expect("a is changed", everything(map[string]string{
		"a.drv": "failed: own path", "b.drv": "skipped: do not match its name", "c.drv": "skipped",
	}))
	s.file(paths["a"].Base(), "Derive(")
	s.expect("a is cut off", everything(map[string]string{
		"a.drv": "failed: parse: derivation, offset 7", "b.drv": "skipped: is missing", "c.drv": "skipped",
	}))
}

func TestVerifyFailures(t *testing.T) {
	for what, c := range map[string]struct {
		change func(d *derivation.Derivation)
		want   string
	}{
		"the variable is missing":      {func(d *derivation.Derivation) { d.Env.Delete("out") }, "failed: output paths: "},
		"the variable is another":      {func(d *derivation.Derivation) { d.Env.Set("out", "x") }, "failed: output paths: env \"out\""},
		"another path":                 {func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.InputAddressedOutput(p("y"))) }, "failed: output paths: output \"out\""},
		"unnecessarily deferred":       {func(d *derivation.Derivation) { d.Outputs.Set("out", derivation.DeferredOutput()) }, "failed: output paths"},
		"it needs a missing input":     {func(d *derivation.Derivation) { d.InputDerivations.Set(p("z.drv"), derivation.OutputsOf("out")) }, "skipped: -z.drv is missing"},
		"an input is not a derivation": {func(d *derivation.Derivation) { d.InputDerivations.Set(p("z"), derivation.OutputsOf("out")) }, "failed: is not a derivation"},
		"it is not canonical":          {func(d *derivation.Derivation) { d.Outputs.Set("a b", derivation.DeferredOutput()) }, "failed: canonical"},
		"the outputs are mixed":        {func(d *derivation.Derivation) { d.Outputs.Set("z", derivation.FloatingOutput(storepath.NAR, 3)) }, "failed: canonical"},
		"a trailing line feed":         {nil, "failed: canonical: derivation is not canonical, offset"},
	} {
		s := drvStore{t, t.TempDir()}
		d := drv(t, "a", deferredOutput)
		if err := d.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(d)
			s.write(d)
		} else {
			path, err := d.Path()
			if err != nil {
				t.Fatal(err)
			}
			s.file(path.Base(), d.String()+"\n")
		}
		s.expect(what, map[string]string{"a.drv": c.want})
	}
}

// An input does not have a used output; derivations depend on themselves.
func TestVerifyGraph(t *testing.T) {
	s := drvStore{t, t.TempDir()}
	a := s.add(drv(t, "a", deferredOutput))
	b := drv(t, "b", deferredOutput)
	b.InputDerivations.Set(a, derivation.OutputsOf("dev"))
	s.write(b)
	s.expect("a wrong output", map[string]string{"a.drv": "verified", "b.drv": "failed: has no output dev"})

	s = drvStore{t, t.TempDir()}
	s.file(p("a.drv").Base(), drv(t, "a", deferredOutput, p("a.drv")).String())
	s.file(p("b.drv").Base(), drv(t, "b", deferredOutput, p("c.drv")).String())
	s.file(p("c.drv").Base(), drv(t, "c", deferredOutput, p("b.drv")).String())
	s.write(drv(t, "d", deferredOutput, p("c.drv")))
	s.expect("cycles", map[string]string{
		"a.drv": "failed: has itself as an input", "b.drv": "failed: in a cycle", "c.drv": "failed: in a cycle", "d.drv": "skipped: -c.drv",
	})

	s = drvStore{t, t.TempDir()}
	s.file("notes.txt", "x")
	s.file(digits+"-x", "x")
	s.expect("other files", map[string]string{})
}

func TestVerifyArguments(t *testing.T) {
	s, paths := chain(t)
	dir := derivation.Directory(s.dir)
	results, err := derivation.Verify(t.Context(), dir, []string{paths["c"].Base(), paths["c"].Base(), "x.drv", digits + "-none.drv"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results {
		got = append(got, r.Status.String())
	}
	if strings.Join(got, " ") != "verified verified failed failed" {
		t.Errorf("%v", results)
	}
	results, err = derivation.Verify(t.Context(), dir, []string{paths["b"].Base()}, &derivation.VerifyOptions{Dir: "/gnu/store"})
	if err != nil || results[0].Status != derivation.Failed || !strings.Contains(fmt.Sprint(results[0].Problems), "/gnu/store") {
		t.Errorf("%v, %v", results, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := derivation.Verify(ctx, dir, []string{paths["b"].Base()}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := derivation.Directory(filepath.Join(s.dir, "none")).Files(); err == nil {
		t.Error("Files accepts a directory that does not exist")
	}
}

// Every changed byte is detected.
func TestVerifyChangedByte(t *testing.T) {
	s, paths := chain(t)
	name := paths["c"].Base()
	text := read(t, s.dir, name)
	for i := range text {
		b := []byte(text)
		b[i] ^= 1
		s.file(name, string(b))
		results, err := derivation.Verify(t.Context(), derivation.Directory(s.dir), []string{name}, nil)
		if err != nil || results[0].Status != derivation.Failed {
			t.Fatalf("byte %d: %v, %v", i, results, err)
		}
	}
}
