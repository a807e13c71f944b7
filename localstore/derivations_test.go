package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
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

// using returns a derivation that uses others.
func using(name string, inputs ...storepath.Path) *derivation.Derivation {
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

// What lies under the name of a derivation while somebody uploads it, and was not checked, says
// nothing about the outputs of others: neither now, nor later.
func TestUncheckedInput(t *testing.T) {
	other := open(t, Options{Root: t.TempDir()})
	input := addDerivation(t, other, using("input"))
	liar := addDerivation(t, other, using("liar"))
	text, err := os.ReadFile(other.object(input))
	if err != nil {
		t.Fatal(err)
	}
	lie, err := os.ReadFile(other.object(liar))
	if err != nil {
		t.Fatal(err)
	}
	top := addDerivation(t, other, using("top", input))
	honest, err := os.ReadFile(other.object(top))
	if err != nil {
		t.Fatal(err)
	}

	s := open(t, Options{Root: t.TempDir()})
	if err := os.WriteFile(s.object(input), lie, 0o444); err != nil {
		t.Fatal(err)
	}
	// It says that it refers to nothing, so that nothing has to be valid.
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

// An input that somebody has changed in the store is an error that says so.
func TestChangedInput(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	input := addDerivation(t, s, using("input"))
	top := using("top", input)
	if err := os.Chmod(s.object(input), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.object(input), []byte("Derive("), 0o444); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, Options{Root: root}) // remembers no hashes
	top.Dir, top.Platform, top.Builder = s.Dir(), "x", "/b"
	_, err := fresh.modulo.inputsOf(t.Context(), &drvReader{s: fresh}, top, nil)
	var modified *store.ModifiedError
	if !errors.As(err, &modified) || modified.Path != input {
		t.Errorf("%v", err)
	}
}

// What a derivation under a wrong path says is forgotten with it: when it is deleted, the right one can be added,
// and what uses it, directly or through another one.
func TestDerivationUnderWrongPath(t *testing.T) {
	right, wrong := open(t, Options{Root: t.TempDir()}), open(t, Options{Root: t.TempDir()})
	input := addDerivation(t, right, using("input"))
	middle := addDerivation(t, right, using("middle", input))
	top := addDerivation(t, right, using("top", middle))
	text := func(s *Store, path storepath.Path) []byte {
		text, err := os.ReadFile(s.object(path))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	liar := using("input")
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
	for range 2 { // what it says counts as long as it is valid
		if _, err := client.AddTextToStore(t.Context(), "middle.drv", string(text(right, middle)), references[middle]); err == nil {
			t.Error("outputs are not those that follow from the input")
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

// largeText is the text of a derivation of about that many bytes, with as many small variables as
// fit.
func largeText(t testing.TB, s *Store, size int) string {
	t.Helper()
	d := using("large")
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

// Large derivations are read one after the other, however many want to, and not those that are larger still.
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
	if mb := (max(most.Load(), before) - before) >> 20; mb > 200 {
		t.Errorf("it took %d MB", mb)
	} else {
		t.Logf("%d MB", mb)
	}
	if _, err := s.AddToStore(t.Context(), "larger.drv", storepath.Text, nixhash.SHA256, nil, strings.NewReader(strings.Repeat(" ", maxDerivation+1)), nil); err == nil || !strings.Contains(err.Error(), "is too large") {
		t.Error(err)
	}
	if left := onDisk(t, s); len(left) != 1 {
		t.Errorf("the store has %q", left)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
