package store_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pix/derivation"
	"pix/nar"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// AddPath and AddFS give the same path to the same files. The expected path comes from "nix-store --add" of Nix 2.34.
func TestAddPath(t *testing.T) {
	s := memstore.New(nil)
	dir := filepath.Join(t.TempDir(), "source")
	files := fstest.MapFS{"a": {Data: []byte("hello\n"), Mode: 0o644}, "b/run": {Data: []byte("#!"), Mode: 0o755}}
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "b/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	onDisk, err := store.AddPath(t.Context(), s, "source", dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	inMemory, err := store.AddFS(t.Context(), s, "source", files, ".", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := storepath.Path("/nix/store/z0h85hbhamjppg79sl7wghv7c1kdic4w-source"); onDisk.Path != want || inMemory.Path != want {
		t.Errorf("AddPath: %s, AddFS: %s, want %s", onDisk.Path, inMemory.Path, want)
	}
	filtered, err := store.AddPath(t.Context(), s, "source", dir, &nar.DumpOptions{Filter: func(path string, _ nar.Kind) bool { return path != "b" }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := store.Listing(t.Context(), s, filtered.Path); err != nil || len(l.Entries) != 1 {
		t.Errorf("with a filter: %+v, %v", l, err)
	}
}

// The error of a file that cannot be read is returned, not the store's about an incomplete archive. A store that
// fails without reading the archive does not leave the goroutine behind that writes it.
func TestAddPathFails(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := store.AddPath(t.Context(), memstore.New(nil), "x", missing, nil, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file: %v", err)
	}
	large := fstest.MapFS{"x": {Data: make([]byte, 4<<20)}}
	if _, err := store.AddFS(t.Context(), memstore.New(&memstore.Options{MaxSize: 1 << 10}), "x", large, "x", nil, nil); !errors.Is(err, memstore.ErrFull) {
		t.Errorf("a full store: %v", err)
	}
	if _, err := store.AddFS(t.Context(), memstore.New(nil), ".bad/name", large, "x", nil, nil); err == nil {
		t.Error("an invalid name was accepted")
	}
}

// A panic of the filter reaches the caller.
func TestAddPathPanics(t *testing.T) {
	defer func() {
		if p, ok := recover().(*store.PanicError); !ok || p.Value != "filter" {
			t.Errorf("recovered %v", p)
		}
	}()
	filter := &nar.DumpOptions{Filter: func(string, nar.Kind) bool { panic("filter") }}
	_, err := store.AddFS(t.Context(), memstore.New(nil), "x", fstest.MapFS{"x": {}}, ".", filter, nil)
	t.Errorf("AddFS returned %v", err)
}

// A derivation that was added, changed and added again has new paths in its outputs and in their variables.
func TestAddDerivation(t *testing.T) {
	s := memstore.New(nil)
	d := &derivation.Derivation{Name: "x", Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	first, err := store.AddDerivation(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := d.Outputs.Get("out")
	d.Env.Set("changed", "1")
	second, err := store.AddDerivation(t.Context(), s, d)
	if err != nil {
		t.Fatal(err)
	}
	after, _ := d.Outputs.Get("out")
	if variable, _ := d.Env.Get("out"); first == second || before.Path() == after.Path() || variable != string(after.Path()) {
		t.Errorf("%s -> %s, output %s -> %s, variable %s", first, second, before.Path(), after.Path(), variable)
	}
	inputs, err := derivation.LoadInputHashes(t.Context(), store.Derivations(s), d)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.CheckOutputPaths(inputs, nil); err != nil {
		t.Error(err)
	}

	// After an error the derivation is unchanged.
	d.InputDerivations.Set("/nix/store/00000000000000000000000000000000-y.drv", derivation.InputOutputs{})
	unchanged := d.Clone()
	if _, err := store.AddDerivation(t.Context(), s, d); err == nil || !d.Equal(unchanged) {
		t.Errorf("a missing input: %v", err)
	}
}
