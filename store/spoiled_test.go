package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"pix/binarycache"
	"pix/daemon"
	"pix/daemontest"
	"pix/localstore"
	"pix/protocol"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A spoiled store has some archives that cannot be read to their end, or are wrong. It counts
// the reads of each archive.
type spoiled struct {
	*memstore.Store
	cut, wrong map[storepath.Path]bool
	mends      bool // the second read succeeds

	mu   sync.Mutex
	read map[storepath.Path]int
}

func newSpoiled(s *memstore.Store) *spoiled {
	return &spoiled{Store: s, cut: make(map[storepath.Path]bool), wrong: make(map[storepath.Path]bool), read: make(map[storepath.Path]int)}
}

// A passingError is retryable.
type passingError struct{ error }

func (passingError) Retryable() bool { return true }

func (s *spoiled) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	s.read[path]++
	n := s.read[path]
	s.mu.Unlock()
	archive, err := s.Store.NARFromPath(ctx, path)
	if err != nil || s.mends && n > 1 {
		return archive, err
	}
	whole, err := io.ReadAll(archive)
	switch {
	case s.cut[path]:
		err := error(io.ErrUnexpectedEOF)
		if s.mends {
			err = passingError{err}
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), failing{err})), nil
	case s.wrong[path]:
		whole[len(whole)-40] ^= 1 // a byte of the contents
	}
	return io.NopCloser(bytes.NewReader(whole)), err
}

// reads returns the total number of reads.
func (s *spoiled) reads() (n int) {
	for _, times := range s.read {
		n += times
	}
	return n
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// destinations returns the kinds of stores to which objects are copied.
func destinations(t *testing.T) map[string]store.Store {
	t.Helper()
	local, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	below, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), NoSignatures: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() }) // after the daemon
	servedPool, err := daemon.Open(t.Context(), daemontest.New(t, &daemontest.Options{Store: below}), nil)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := binarycache.Open(t.Context(), "file://"+t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := daemon.Open(t.Context(), daemontest.New(t, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	old := daemontest.New(t, &daemontest.Options{Version: protocol.MakeVersion(31)}) // adds objects one by one
	oldPool, err := daemon.Open(t.Context(), old, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range []store.Store{local, cache, pool, oldPool, servedPool} {
			s.Close()
		}
	})
	return map[string]store.Store{
		"memory": memstore.New(nil), "one by one": simple{memstore.New(nil)},
		"local store": local, "binary cache": cache, "daemon": pool, "old daemon": oldPool, "daemon of a local store": servedPool,
	}
}

// manyTexts adds n texts without references.
func manyTexts(t testing.TB, s *memstore.Store, name string, n, size int) []storepath.Path {
	t.Helper()
	var paths []storepath.Path
	for i := range n {
		path, err := s.AddTextToStore(t.Context(), fmt.Sprintf("%s-%d", name, i), strings.Repeat("x", size)+fmt.Sprint(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func pathSet(paths ...storepath.Path) map[storepath.Path]bool {
	set := make(map[storepath.Path]bool)
	for _, path := range paths {
		set[path] = true
	}
	return set
}
