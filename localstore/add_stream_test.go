package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// textChain returns texts, each of which refers to the one before it.
func textChain(t *testing.T, dir storepath.Dir, n int) (texts []store.Import) {
	t.Helper()
	var refs []storepath.Path
	for i := range n {
		text, err := store.ImportText(dir, fmt.Sprint("text", i), fmt.Sprint("text ", i), refs)
		if err != nil {
			t.Fatal(err)
		}
		texts, refs = append(texts, text), []storepath.Path{text.Info.Path}
	}
	return texts
}

// checkAdded returns an error unless a store has the first n texts, with their contents, and no other file.
func checkAdded(t *testing.T, s *Store, texts []store.Import, n int) {
	t.Helper()
	for i, text := range texts[:n] {
		archive, err := s.NARFromPath(t.Context(), text.Info.Path)
		if err != nil {
			t.Fatalf("text %d: %v", i, err)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			t.Errorf("text %d: %v", i, err)
		}
		archive.Close()
	}
	valid, err := s.QueryAllValidPaths(t.Context())
	if left := onDisk(t, s); err != nil || len(valid) != n || len(left) != n {
		t.Errorf("%d valid paths and %d files, %v, want %d", len(valid), len(left), err, n)
	}
}

// A stream of texts that ends in the middle, even in the middle of an object, leaves the complete ones: those of the
// batches that were being registered, and those in memory.
func TestStreamOfTextsEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, complete := range []int{0, 1, batchObjects, batchObjects + 1, 3*batchObjects + 7} {
		s := open(t, Options{Root: t.TempDir()})
		texts := textChain(t, s.Dir(), complete+1)
		last := texts[complete]
		last.NAR = io.MultiReader(io.LimitReader(last.NAR, 50), errorReader{broken})
		stream := append(slices.Clone(texts[:complete]), last)
		err := s.AddMultipleToStore(t.Context(), complete+10, imports(stream), nil)
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		checkAdded(t, s, textChain(t, s.Dir(), complete+1), complete)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A text whose contents are not those of its path, and an archive that is not one of a text, are refused together with
// what refers to them. All other texts are added.
func TestStreamOfBadTexts(t *testing.T) {
	var tree bytes.Buffer
	if err := nar.WriteFile(&tree, bytes.NewReader([]byte("other")), 5); err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string][]byte{
		"other contents": tree.Bytes(), "a tree": treeNAR(), "no archive": []byte("text"), "an empty archive": nil,
	} {
		s := open(t, Options{Root: t.TempDir()})
		texts := textChain(t, s.Dir(), 2*batchObjects)
		texts[batchObjects+5].NAR = bytes.NewReader(archive)
		err := s.AddMultipleToStore(t.Context(), len(texts), imports(texts), nil)
		refused, ok := errors.AsType[*store.AddError](err)
		if !ok || len(refused.Failed) != batchObjects-5 || refused.Failed[0].Path != texts[batchObjects+5].Info.Path {
			t.Errorf("%s: %v", name, err)
		}
		checkAdded(t, s, textChain(t, s.Dir(), 2*batchObjects), batchObjects+5)
	}
}

// Streams of the same texts at the same time, in one process and through several open stores, add each text once.
func TestStreamsOfTheSameTexts(t *testing.T) {
	root := t.TempDir()
	const n = 2*batchObjects + 20
	var adders sync.WaitGroup
	for range 3 {
		s := open(t, Options{Root: root})
		for range 2 {
			texts := textChain(t, s.Dir(), n)
			adders.Go(func() {
				if err := s.AddMultipleToStore(t.Context(), n, imports(texts), nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	adders.Wait()
	s := open(t, Options{Root: root})
	checkAdded(t, s, textChain(t, s.Dir(), n), n)
}
