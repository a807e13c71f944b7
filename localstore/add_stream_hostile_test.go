package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An object whose references are missing is refused alone, although the batch then registers its objects one by one and
// some of them come before their references.
func TestStreamWithMissingReference(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	texts := textChain(t, s.Dir(), 40)
	slices.Reverse(texts)
	bad, err := store.ImportText(s.Dir(), "bad", "bad", []storepath.Path{absent})
	if err != nil {
		t.Fatal(err)
	}
	err = s.AddMultipleToStore(t.Context(), 41, imports(append(texts, bad)), nil)
	refused, ok := errors.AsType[*store.AddError](err)
	if !ok || len(refused.Failed) != 1 || refused.Failed[0].Path != bad.Info.Path || !errors.As(err, new(*store.MissingReferenceError)) {
		t.Errorf("%v", err)
	}
	checkAdded(t, s, textChain(t, s.Dir(), 40), 40)
}

// Bad objects at the edges of batches are refused, and the others are added.
func TestStreamOfBadObjects(t *testing.T) {
	opts := &store.AddOptions{NoSignatures: true}
	dir := storepath.DefaultDir
	selfish, selfishNAR := object(t, "selfish")
	selfish.References = []storepath.Path{selfish.Path}
	text, err := store.ImportText(dir, "text", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	selfText := *text.Info
	selfText.References = []storepath.Path{selfText.Path}
	many, manyNAR := object(t, "many")
	for i := range 100_000 {
		many.References = append(many.References, storepath.Path(fmt.Sprintf("/nix/store/%032d-x", i)))
	}
	long, longNAR := object(t, "long")
	longer := slices.Concat(longNAR, []byte("more"))
	for _, position := range []int{0, batchObjects - 1, batchObjects} {
		root := t.TempDir()
		s := open(t, Options{Root: root})
		good := textChain(t, dir, 2*batchObjects)
		all := slices.Concat(good[:position], []store.Import{
			{Info: selfish, NAR: bytes.NewReader(selfishNAR)},
			{Info: &selfText, NAR: bytes.NewReader(fileNAR("text"))},
			{Info: many, NAR: bytes.NewReader(manyNAR)},
			{Info: long, NAR: bytes.NewReader(longer)},
		}, good[position:])
		err := s.AddMultipleToStore(t.Context(), len(all), imports(all), opts)
		refused, ok := errors.AsType[*store.AddError](err)
		if !ok || refused.Err != nil {
			t.Fatalf("%v", err)
		}
		failed := make(map[storepath.Path]bool)
		for _, f := range refused.Failed {
			failed[f.Path] = true
		}
		if !failed[text.Info.Path] || !failed[many.Path] || len(failed) != 2 {
			t.Errorf("position %d: %v", position, err)
		}
		if valid, err := s.IsValidPath(t.Context(), selfish.Path); err != nil || !valid {
			t.Errorf("an object that refers to itself: %v, %v", valid, err)
		}
		deleteReopened(t, s, root, selfish.Path, long.Path)
		checkAdded(t, open(t, Options{Root: root}), textChain(t, dir, 2*batchObjects), 2*batchObjects)
	}
}

// deleteReopened closes a store, which ends its temporary roots, and deletes paths.
func deleteReopened(t *testing.T, s *Store, root string, paths ...storepath.Path) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Options{Root: root})
	for _, path := range paths {
		valid, err := again.IsValidPath(t.Context(), path)
		if err != nil || !valid {
			t.Errorf("'%s' is not valid: %v", path, err)
		}
		if _, err := again.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{path}}); err != nil {
			t.Fatal(err)
		}
	}
}

// Objects that come several times, in one batch or in several, are added once. So are large ones among small ones.
func TestStreamOfDuplicates(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	one := slices.Concat(textChain(t, s.Dir(), batchObjects), textChain(t, s.Dir(), batchObjects))
	large, _ := object(t, "large")
	largeNAR := fileNAR(strings.Repeat("large", 1<<20))
	large.NARHash, large.NARSize = nixhash.Sum(nixhash.SHA256, largeNAR), uint64(len(largeNAR))
	for i := range 7 {
		one = slices.Insert(one, 18*i, store.Import{Info: large, NAR: bytes.NewReader(largeNAR)})
	}
	for _, text := range textChain(t, s.Dir(), batchObjects/2) {
		one = append(one, text)
		text.NAR = bytes.NewReader(nil) // is not read
		one = append(one, text)
	}
	if err := s.AddMultipleToStore(t.Context(), len(one), imports(one), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	if got := readNAR(t, s, large.Path); !bytes.Equal(got, largeNAR) {
		t.Error("the large object differs")
	}
	deleteReopened(t, s, root, large.Path)
	checkAdded(t, open(t, Options{Root: root}), textChain(t, s.Dir(), batchObjects), batchObjects)
}

// interrupted yields texts, and calls interrupt before one of them, or after a part of its archive was read.
func interrupted(texts []store.Import, at int, inside bool, interrupt func()) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for i, text := range texts {
			switch {
			case i == at && inside:
				text.NAR = io.MultiReader(io.LimitReader(text.NAR, 50), readerFunc(func([]byte) (int, error) { interrupt(); return 0, io.EOF }), text.NAR)
			case i == at:
				interrupt()
			}
			if !yield(text, nil) {
				return
			}
		}
	}
}

// A stream whose context is cancelled at any point returns the cause, and leaves only complete objects. So does a stream
// whose reader panics. After these, and after the store was closed meanwhile, the same stream succeeds.
func TestInterruptedStreams(t *testing.T) {
	const n = 2*batchObjects + 10
	cause := errors.New("the cause")
	points := []int{1, batchObjects, 2*batchObjects + 5}
	if long() {
		points = append(points, 0, batchObjects-1, batchObjects+1, 2*batchObjects, n-1)
	}
	for i, at := range points {
		sides := []bool{i%2 == 0}
		if long() {
			sides = []bool{false, true}
		}
		for _, inside := range sides {
			for name, run := range map[string]func(s *Store, texts []store.Import) (any, error){
				"cancel": func(s *Store, texts []store.Import) (any, error) {
					ctx, cancel := context.WithCancelCause(t.Context())
					return nil, s.AddMultipleToStore(ctx, n, interrupted(texts, at, inside, func() { cancel(cause) }), nil)
				},
				"panic": func(s *Store, texts []store.Import) (value any, err error) {
					defer func() { value = recover() }()
					return nil, s.AddMultipleToStore(t.Context(), n, interrupted(texts, at, inside, func() { panic(cause) }), nil)
				},
				"close": func(s *Store, texts []store.Import) (any, error) {
					return nil, s.AddMultipleToStore(t.Context(), n, interrupted(texts, at, inside, func() { s.Close() }), nil)
				},
			} {
				root := t.TempDir()
				value, err := run(open(t, Options{Root: root}), textChain(t, storepath.DefaultDir, n))
				if name == "panic" && value != cause || name == "cancel" && err != nil && !errors.Is(err, cause) || name == "close" && err == nil {
					t.Errorf("%s at %d, inside %v: %v, %v", name, at, inside, value, err)
				}
				s := open(t, Options{Root: root})
				valid, err := s.QueryAllValidPaths(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if name != "close" { // a closed store cannot look up which objects are valid, so files may remain, as after a crash
					checkAdded(t, s, textChain(t, s.Dir(), n), len(valid))
				}
				if err := s.AddMultipleToStore(t.Context(), n, imports(textChain(t, s.Dir(), n)), nil); err != nil {
					t.Errorf("%s at %d, inside %v, again: %v", name, at, inside, err)
				}
				checkAdded(t, s, textChain(t, s.Dir(), n), n)
			}
		}
	}
}

// Streams into two open stores, collections and deduplications at the same time never fail, and each stream finds its
// texts valid at its end.
func TestStreamsWhileCollecting(t *testing.T) {
	root := t.TempDir()
	var adders, others sync.WaitGroup
	done := make(chan struct{})
	for worker := range 2 {
		adders.Go(func() {
			for round := range 2 {
				s := open(t, Options{Root: root, AutoOptimise: worker == 1})
				if err := streamAndCheck(t, s, round, 2*batchObjects); err != nil {
					t.Errorf("worker %d, round %d: %v", worker, round, err)
				}
				s.Close()
			}
		})
	}
	repeat := func(call func(s *Store) error) {
		s := open(t, Options{Root: root})
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if err := call(s); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	repeat(func(s *Store) error {
		_, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
		return err
	})
	repeat(func(s *Store) error {
		return s.OptimiseStore(t.Context())
	})
	adders.Wait()
	close(done)
	others.Wait()
	s := open(t, Options{Root: root})
	if remain, lines := verify(t, s, true, false); remain {
		t.Errorf("%q", lines)
	}
}

// streamAndCheck adds texts as one stream, and returns an error if one of them is not valid and complete.
func streamAndCheck(t *testing.T, s *Store, round, n int) error {
	var texts []store.Import
	var refs, paths []storepath.Path
	for i := range n {
		text, err := store.ImportText(s.Dir(), fmt.Sprint("text", i), fmt.Sprint("text ", round, i), refs)
		if err != nil {
			return err
		}
		texts, paths, refs = append(texts, text), append(paths, text.Info.Path), []storepath.Path{text.Info.Path}
	}
	if err := s.AddMultipleToStore(t.Context(), n, imports(texts), nil); err != nil {
		return err
	}
	valid, err := s.QueryValidPaths(t.Context(), paths, false)
	if err != nil || len(valid) != n {
		return fmt.Errorf("%d of %d texts are valid, %w", len(valid), n, err)
	}
	for i, path := range paths {
		want := fileNAR(fmt.Sprint("text ", round, i))
		if got := nixhash.Sum(nixhash.SHA256, readNAR(t, s, path)); got != nixhash.Sum(nixhash.SHA256, want) {
			return fmt.Errorf("'%s' has other contents", path)
		}
	}
	return nil
}
