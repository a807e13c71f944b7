package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// addDerivation adds a derivation with one output, whose inputs were added before.
func addDerivation(t testing.TB, s *Store, d *derivation.Derivation) storepath.Path {
	t.Helper()
	d.Dir, d.Platform, d.Builder = s.Dir(), "x", "/b"
	inputs, err := s.modulo.inputsOf(t.Context(), &drvReader{s: s}, d, nil)
	if err == nil {
		err = d.FillOutputPaths(inputs, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.AddTextToStore(t.Context(), d.Name+".drv", string(d.AppendATerm(nil)), d.References().Slice())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// drvs adds a derivation, a second one that depends on it, and a floating one.
func drvs(t testing.TB, s *Store) (first, second, floating storepath.Path) {
	out := derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()})
	env := derivation.MapOf(derivation.Entry[string, string]{Key: "out"})
	first = addDerivation(t, s, &derivation.Derivation{Name: "first", Outputs: out.Clone(), Env: env.Clone()})
	second = addDerivation(t, s, &derivation.Derivation{Name: "second", Outputs: out.Clone(), Env: env.Clone(),
		InputDerivations: derivation.MapOf(derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: first, Value: derivation.OutputsOf("out")})})
	floating = addDerivation(t, s, &derivation.Derivation{Name: "floating", Env: derivation.MapOf(derivation.Entry[string, string]{Key: "out", Value: string(storepath.OwnPlaceholder("out"))}),
		Outputs: derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.FloatingOutput(storepath.NAR, nixhash.SHA256)})})
	return first, second, floating
}

func TestDerivations(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	first, second, floating := drvs(t, s)
	other := open(t, Options{Root: root}) // has an empty cache of hashes
	for _, s := range []*Store{s, other} {
		outputs, err := s.QueryDerivationOutputMap(t.Context(), second)
		if err != nil || len(outputs) != 1 || outputs["out"] == "" {
			t.Fatal(outputs, err)
		}
		derivers, err := s.QueryValidDerivers(t.Context(), outputs["out"])
		if err != nil || !slices.Equal(derivers, []storepath.Path{second}) {
			t.Error(derivers, err)
		}
		if outputs, err := s.QueryDerivationOutputMap(t.Context(), floating); err != nil || len(outputs) != 1 || outputs["out"] != "" {
			t.Error(outputs, err)
		}
	}
	if _, err := s.QueryDerivationOutputMap(t.Context(), absent+".drv"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{
		derivation.Built{Drv: derivation.Opaque{Path: second}, Outputs: derivation.AllOutputs()},
		derivation.Opaque{Path: absent}, derivation.Opaque{Path: first},
	})
	want := []storepath.Path{first, second}
	slices.Sort(want)
	if err != nil || !slices.Equal(missing.WillBuild, want) || !slices.Equal(missing.Unknown, []storepath.Path{absent}) {
		t.Errorf("%+v, %v", missing, err)
	}

	// A derivation that claims the output path of another one, and invalid derivations.
	before := onDisk(t, s)
	for _, text := range []string{
		strings.ReplaceAll(`Derive([("out","PATH","","")],[],[],"x","/b",[],[("out","PATH")])`, "PATH", string(absent)),
		"Derive(", "",
	} {
		if _, err := s.AddTextToStore(t.Context(), "absent.drv", text, nil); err == nil {
			t.Errorf("%q was added", text)
		}
	}
	if _, err := s.AddToStore(t.Context(), "dir.drv", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(treeNAR()), nil); err == nil {
		t.Error("a directory was added as a derivation")
	}
	if after := onDisk(t, s); !slices.Equal(before, after) {
		t.Errorf("the store has %q", after)
	}
}

// withInputs returns a derivation with these inputs.
func withInputs(name string, inputs ...storepath.Path) *derivation.Derivation {
	var entries []derivation.Entry[storepath.Path, derivation.InputOutputs]
	for _, input := range inputs {
		entries = append(entries, derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: input, Value: derivation.OutputsOf("out")})
	}
	return &derivation.Derivation{
		Name:             name,
		Outputs:          derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()}),
		Env:              derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
		InputDerivations: derivation.MapOf(entries...),
	}
}

// A file with the name of a derivation that is being uploaded, and was not verified, does not affect the output paths
// of other derivations, neither now nor later.
func TestUncheckedInput(t *testing.T) {
	other := open(t, Options{Root: t.TempDir()})
	input := addDerivation(t, other, withInputs("input"))
	liar := addDerivation(t, other, withInputs("liar"))
	text, err := os.ReadFile(other.object(input))
	if err != nil {
		t.Fatal(err)
	}
	lie, err := os.ReadFile(other.object(liar))
	if err != nil {
		t.Fatal(err)
	}
	top := addDerivation(t, other, withInputs("top", input))
	honest, err := os.ReadFile(other.object(top))
	if err != nil {
		t.Fatal(err)
	}

	s := open(t, Options{Root: t.TempDir()})
	if err := os.WriteFile(s.object(input), lie, 0o444); err != nil {
		t.Fatal(err)
	}
	// It declares no references, so no other path has to be valid.
	var missing *store.MissingReferenceError
	if path, err := s.AddTextToStore(t.Context(), "top.drv", string(honest), nil); !errors.As(err, &missing) || missing.Reference != input {
		t.Errorf("%s was added though its input is not valid: %v", path, err)
	}
	if got, err := s.AddTextToStore(t.Context(), "input.drv", string(text), nil); err != nil || got != input {
		t.Fatalf("%s, %v", got, err)
	}
	if got, err := s.AddTextToStore(t.Context(), "top.drv", string(honest), []storepath.Path{input}); err != nil || got != top {
		t.Errorf("%s, %v", got, err)
	}
}

// If an input was changed in the store, the error names it.
func TestChangedInput(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	input := addDerivation(t, s, withInputs("input"))
	top := withInputs("top", input)
	if err := os.Chmod(s.object(input), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.object(input), []byte("Derive("), 0o444); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, Options{Root: root}) // has an empty cache of hashes
	top.Dir, top.Platform, top.Builder = s.Dir(), "x", "/b"
	_, err := fresh.modulo.inputsOf(t.Context(), &drvReader{s: fresh}, top, nil)
	var modified *store.ModifiedError
	if !errors.As(err, &modified) || modified.Path != input {
		t.Errorf("%v", err)
	}
}

// After a derivation under a wrong path was deleted, the right one can be added, and so can derivations that depend on
// it, directly or through another one.
func TestDerivationUnderWrongPath(t *testing.T) {
	right, wrong := open(t, Options{Root: t.TempDir()}), open(t, Options{Root: t.TempDir()})
	input := addDerivation(t, right, withInputs("input"))
	middle := addDerivation(t, right, withInputs("middle", input))
	top := addDerivation(t, right, withInputs("top", middle))
	text := func(s *Store, path storepath.Path) []byte {
		text, err := os.ReadFile(s.object(path))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	liar := withInputs("input")
	liar.Env.Set("lie", "")

	s := open(t, Options{Root: t.TempDir(), NoSignatures: true})
	opened, err := s.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := opened.(*Store)
	archive := archiveOf(t, wrong, addDerivation(t, wrong, liar))
	info := &store.PathInfo{Path: input, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
	if err := client.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	references := map[storepath.Path][]storepath.Path{middle: {input}, top: {middle}}
	for range 2 { // it determines the hash as long as it is valid
		if _, err := client.AddTextToStore(t.Context(), "middle.drv", string(text(right, middle)), references[middle]); err == nil {
			t.Error("the outputs do not follow from the input")
		}
	}
	client.Close()
	if result, err := s.CollectGarbage(t.Context(), deleteAll); err != nil || len(result.Paths) != 1 {
		t.Fatal(result, err)
	}
	for _, path := range []storepath.Path{input, middle, top} {
		got, err := s.AddTextToStore(t.Context(), path.Name(), string(text(right, path)), references[path])
		if err != nil || got != path {
			t.Errorf("%s, %v", got, err)
		}
	}
}

// largeText returns the text of a derivation of about this size in bytes, with as many small variables as possible.
func largeText(t testing.TB, s *Store, size int) string {
	t.Helper()
	d := withInputs("large")
	var entries []derivation.Entry[string, string]
	for i := range size / 16 {
		entries = append(entries, derivation.Entry[string, string]{Key: fmt.Sprintf("%07d", i)})
	}
	d.Env = derivation.MapOf(append(entries, derivation.Entry[string, string]{Key: "out"})...)
	d.Dir, d.Platform, d.Builder = s.Dir(), "x", "/b"
	if err := d.FillOutputPaths(nil, nil); err != nil {
		t.Fatal(err)
	}
	return string(d.AppendATerm(nil))
}

// Only one large derivation is read at a time, and no derivation beyond the limit.
func TestLargeDerivations(t *testing.T) {
	s := open(t, Options{Root: t.TempDir(), NoSync: true})
	text := largeText(t, s, 8<<20)
	var all sync.WaitGroup
	var most atomic.Uint64
	stop := make(chan struct{})
	runtime.GC()
	before := heap()
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				most.Store(max(most.Load(), heap()))
			}
		}
	}()
	for i := range 8 {
		all.Go(func() {
			path, err := s.AddToStore(t.Context(), "large.drv", storepath.Text, nixhash.SHA256, nil, strings.NewReader(text), nil)
			if err != nil {
				t.Error(err)
				return
			}
			missing, err := s.QueryMissing(t.Context(), []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: path.Path}, Outputs: derivation.AllOutputs()}})
			if err != nil || len(missing.WillBuild) != 1 {
				t.Errorf("%d: %+v, %v", i, missing, err)
			}
		})
	}
	all.Wait()
	close(stop)
	if mb := (max(most.Load(), before) - before) >> 20; mb > 100 {
		t.Errorf("it took %d MB", mb)
	} else {
		t.Logf("%d MB", mb)
	}
	if _, err := s.AddToStore(t.Context(), "larger.drv", storepath.Text, nixhash.SHA256, nil, strings.NewReader(strings.Repeat(" ", derivation.MaxFile+1)), nil); err == nil || !strings.Contains(err.Error(), "is too large") {
		t.Error(err)
	}
	if left := onDisk(t, s); len(left) != 1 {
		t.Errorf("the store has %q", left)
	}
}

// heap returns how many bytes the last garbage collection has found in use. A slow collection does not raise it.
func heap() uint64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64()
}
