package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A textsOnly is a store that adds nothing but texts.
type textsOnly struct {
	store.Store
	store.NARReader
	store.TextAdder
}

// batchStores returns a store of each kind that adds a batch in another way.
func batchStores(t *testing.T) map[string]store.Store {
	memory := memstore.New(nil)
	stores := map[string]store.Store{"memory": memstore.New(nil), "texts only": textsOnly{memory, memory, memory}}
	for _, version := range []protocol.Version{protocol.MinVersion, protocol.MakeVersion(31), protocol.MakeVersion(32), protocol.MaxVersion} {
		d := daemontest.New(t, &daemontest.Options{Version: version, Untrusted: true})
		pool, err := daemon.Open(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		stores["daemon "+version.String()] = pool
	}
	return stores
}

// unnamed returns a derivation with outputs whose paths must be computed.
func unnamed(name string, inputs ...storepath.Path) *derivation.Derivation {
	d := &derivation.Derivation{Name: name, Platform: "x86_64-linux", Builder: "/bin/sh"}
	d.Outputs.Set("out", derivation.DeferredOutput())
	d.Env.Set("out", "")
	for _, input := range inputs {
		d.InputDerivations.Set(input, derivation.InputOutputs{Names: derivation.SetOf("out")})
	}
	return d
}

// A batch of derivations that refer to texts, to derivations before them and to derivations in the store
// gives the same paths as adding one after another.
func TestBatch(t *testing.T) {
	for name, s := range batchStores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			alone := memstore.New(nil)
			inStore := []store.Store{alone, s}
			var base, above storepath.Path
			for _, each := range inStore {
				var err error
				if base, err = store.AddDerivation(ctx, each, unnamed("base")); err != nil {
					t.Fatal(err)
				}
				if above, err = store.AddDerivation(ctx, each, unnamed("above", base)); err != nil {
					t.Fatal(err)
				}
			}
			batch := store.NewBatch(s)
			textPath, err := batch.AddText("text", "hello\n", nil)
			if err != nil {
				t.Fatal(err)
			}
			if want, err := store.AddText(ctx, alone, "text", "hello\n", nil); err != nil || textPath != want {
				t.Errorf("the text is %s, want %s, %v", textPath, want, err)
			}
			last := base
			for i := range 5 {
				d := unnamed(fmt.Sprint("d", i), base, last)
				if i > 2 { // an input from the store whose own input is known already
					d.InputDerivations.Set(above, derivation.InputOutputs{Names: derivation.SetOf("out")})
				}
				d.InputSources.Add(textPath)
				want, err := store.AddDerivation(ctx, alone, d.Clone())
				if err != nil {
					t.Fatal(err)
				}
				if last, err = batch.AddDerivation(ctx, d); err != nil || last != want {
					t.Errorf("derivation %d is %s, want %s, %v", i, last, want, err)
				}
				if own, err := d.Path(); own != last || err != nil {
					t.Errorf("derivation %d was left with the path %s, %v", i, own, err)
				}
			}
			if batch.Len() != 6 {
				t.Errorf("the batch has %d objects", batch.Len())
			}
			if valid, err := s.IsValidPath(ctx, last); valid || err != nil {
				t.Errorf("before Flush: valid %v, %v", valid, err)
			}
			for range 2 { // the second one has nothing to add
				if err := batch.Flush(ctx); err != nil || batch.Len() != 0 {
					t.Fatalf("%d objects remain, %v", batch.Len(), err)
				}
			}
			checkSame(t, s, alone, last)
		})
	}
}

// checkSame checks that both stores have the same closure.
func checkSame(t *testing.T, a, b store.Store, root storepath.Path) {
	t.Helper()
	var infos [2][]*store.PathInfo
	for i, s := range []store.Store{a, b} {
		for info, err := range store.Closure(t.Context(), s, root) {
			if err != nil {
				t.Fatal(err)
			}
			infos[i] = append(infos[i], info)
		}
	}
	same := slices.EqualFunc(infos[0], infos[1], func(x, y *store.PathInfo) bool {
		return x.Path == y.Path && x.NARHash == y.NARHash && x.CA == y.CA && slices.Equal(x.References, y.References)
	})
	if !same {
		t.Errorf("the closures of %s differ: %d and %d paths", root, len(infos[0]), len(infos[1]))
	}
}

// AddDerivations adds the good derivations and has an error for each of the others. A derivation is refused by the
// store because a source is missing, cannot be computed because an input is missing, or refers to a refused one.
func TestAddDerivationsErrors(t *testing.T) {
	const missing = storepath.Path("/nix/store/00000000000000000000000000000000-missing")
	for name, s := range batchStores(t) {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			first, refused, orphan := unnamed("first"), unnamed("refused"), unnamed("orphan", missing+".drv")
			refused.InputSources.Add(missing)
			refusedPath := pathAlone(t, refused)
			dependent, indirect := unnamed("dependent", refusedPath), unnamed("indirect", refusedPath)
			last := unnamed("last", pathAlone(t, first))
			before := orphan.Clone()
			ds := []*derivation.Derivation{first, refused, orphan, dependent, indirect, last, first}
			paths, err := store.AddDerivations(ctx, s, ds)
			failed, ok := errors.AsType[*store.AddError](err)
			if !ok || failed.Err != nil {
				t.Fatalf("%v", err)
			}
			reasons := map[int]error{}
			for _, f := range failed.Failed {
				e, ok := errors.AsType[*store.DerivationError](f)
				if !ok || e.Name != ds[e.Index].Name || f.Path != paths[e.Index] {
					t.Errorf("a failure without its derivation: %v", f)
					continue
				}
				reasons[e.Index] = e.Err
			}
			if len(reasons) != 4 || reasons[1] == nil || reasons[2] == nil || reasons[3] == nil || reasons[4] == nil {
				t.Errorf("failures: %v", reasons)
			}
			for _, i := range []int{3, 4} {
				if e, ok := errors.AsType[*store.MissingReferenceError](reasons[i]); !ok || e.Reference != refusedPath {
					t.Errorf("derivation %d: %v", i, reasons[i])
				}
			}
			if paths[2] != "" || !orphan.Equal(before) {
				t.Errorf("the derivation without an input has the path %q", paths[2])
			}
			for i, path := range paths {
				if path == "" {
					continue
				}
				if valid, err := s.IsValidPath(ctx, path); err != nil || valid != (reasons[i] == nil) {
					t.Errorf("derivation %d: valid %v, %v", i, valid, err)
				}
			}
			if paths[6] != paths[0] || paths[0] == "" || paths[5] == "" {
				t.Errorf("paths: %q", paths)
			}
		})
	}
}

// pathAlone returns the path of a derivation in a batch, and leaves it without output paths.
func pathAlone(t *testing.T, d *derivation.Derivation) storepath.Path {
	t.Helper()
	path, err := store.NewBatch(memstore.New(nil)).AddDerivation(t.Context(), d.Clone())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A streamFails is a store whose stream fails for a reason that concerns no single object.
type streamFails struct {
	*memstore.Store
	streams int
}

func (s *streamFails) AddMultipleToStore(context.Context, int, iter.Seq2[store.Import, error], *store.AddOptions) error {
	s.streams++
	return io.ErrUnexpectedEOF
}

// After a stream has failed for another reason than an object, the objects are added one by one.
func TestBatchWithoutStream(t *testing.T) {
	s := &streamFails{Store: memstore.New(nil)}
	paths, err := store.AddDerivations(t.Context(), s, []*derivation.Derivation{unnamed("a"), unnamed("b"), unnamed("c")})
	if err != nil || s.streams != 1 {
		t.Fatalf("%d streams, %v", s.streams, err)
	}
	if valid, err := s.QueryValidPaths(t.Context(), paths, false); len(valid) != 3 || err != nil {
		t.Errorf("valid: %v, %v", valid, err)
	}
}

// The path and the info of a text are the same as after AddText.
func TestImportText(t *testing.T) {
	s := memstore.New(nil)
	first, err := store.AddText(t.Context(), s, "first", "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := store.ImportText(s.Dir(), "second", "2", []storepath.Path{first, first})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.AddMultiple(t.Context(), s, 1, func(yield func(store.Import, error) bool) { yield(object, nil) }, nil); err != nil {
		t.Fatal(err)
	}
	other := memstore.New(nil)
	if _, err := store.AddText(t.Context(), other, "first", "1", nil); err != nil {
		t.Fatal(err)
	}
	if want, err := store.AddText(t.Context(), other, "second", "2", []storepath.Path{first}); err != nil || want != object.Info.Path {
		t.Fatalf("the path is %s, want %s, %v", object.Info.Path, want, err)
	}
	checkSame(t, s, other, object.Info.Path)
	if _, err := store.ImportText(s.Dir(), "bad/name", "", nil); err == nil {
		t.Error("a name with a slash was accepted")
	}
}
