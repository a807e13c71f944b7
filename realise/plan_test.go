package realise_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/realise"
	"pix/store"
)

// validDerivations adds derivations whose outputs are valid, in one transaction, and returns their outputs.
func (w *world) validDerivations(t testing.TB, count int) []derivation.DerivedPath {
	var archive bytes.Buffer
	if err := nar.DumpFS(t.Context(), &archive, fstest.MapFS{"file": {Data: []byte("x"), Mode: 0o644}}, "file", nil); err != nil {
		t.Fatal(err)
	}
	hash := nixhash.Sum(nixhash.SHA256, archive.Bytes())
	var paths []derivation.DerivedPath
	var imports []store.Import
	for i := range count {
		d := &derivation.Derivation{Name: fmt.Sprint("d", i), Dir: w.local.Dir(), Platform: "x86_64-linux", Builder: "/bin/sh"}
		d.Outputs.Set("out", derivation.DeferredOutput())
		d.Env.Set("out", "")
		if err := d.FillOutputPaths(nil, nil); err != nil {
			t.Fatal(err)
		}
		text := d.String()
		drv, err := d.Path()
		if err != nil {
			t.Fatal(err)
		}
		var drvArchive bytes.Buffer
		if err := nar.DumpFS(t.Context(), &drvArchive, fstest.MapFS{"file": {Data: []byte(text), Mode: 0o644}}, "file", nil); err != nil {
			t.Fatal(err)
		}
		output, _ := d.Outputs.Get("out")
		imports = append(imports,
			store.Import{Info: &store.PathInfo{Path: drv, NARHash: nixhash.Sum(nixhash.SHA256, drvArchive.Bytes()), NARSize: uint64(drvArchive.Len())}, NAR: bytes.NewReader(drvArchive.Bytes())},
			store.Import{Info: &store.PathInfo{Path: output.Path(), NARHash: hash, NARSize: uint64(archive.Len())}, NAR: bytes.NewReader(archive.Bytes())})
		paths = append(paths, out(drv))
	}
	err := w.local.AddMultipleToStore(t.Context(), len(imports), func(yield func(store.Import, error) bool) {
		for _, i := range imports {
			if !yield(i, nil) {
				return
			}
		}
	}, &store.AddOptions{NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// A call with 10,000 valid derivations returns soon: its work grows with their number only.
func TestManyValid(t *testing.T) {
	count := 500
	if os.Getenv("PIX_LONG") != "" {
		count = 10000
	}
	w := newWorld(t)
	paths := w.validDerivations(t, count)
	s := realise.New(w.local, &realise.Options{Settings: func(context.Context, store.Store) (*realise.Settings, error) {
		return &realise.Settings{MaxJobs: 1}, nil
	}})
	start := time.Now()
	results, err := s.BuildPathsWithResults(t.Context(), paths, store.BuildNormal)
	took := time.Since(start)
	if err != nil || len(results) != count {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, r := range results {
		if r.Status != store.AlreadyValid || r.Path.String() != paths[i].String() {
			t.Fatalf("result %d of %s: %v %s", i, paths[i], r.Status, r.Path)
		}
	}
	t.Logf("%d derivations took %v", count, took)
}
