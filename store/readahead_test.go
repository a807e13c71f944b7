package store_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A countingSource counts the archives that are read from it.
type countingSource struct {
	*memstore.Store
	reads atomic.Int64
}

func (s *countingSource) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.reads.Add(1)
	return s.Store.NARFromPath(ctx, path)
}

// A pausingStore calls pause when it has the first object.
type pausingStore struct {
	*memstore.Store
	pause func()
}

func (s *pausingStore) AddMultipleToStore(ctx context.Context, count int, imports iter.Seq2[store.Import, error], opts *store.AddOptions) error {
	return s.Store.AddMultipleToStore(ctx, count, func(yield func(store.Import, error) bool) {
		first := true
		for object, err := range imports {
			if first {
				first = false
				s.pause()
			}
			if !yield(object, err) {
				return
			}
		}
	}, opts)
}

// While a destination is slow, a limited number of tiny archives waits in memory.
func TestTinyArchivesAhead(t *testing.T) {
	src := &countingSource{Store: memstore.New(nil)}
	var paths []storepath.Path
	for i := range 1500 {
		path, err := src.AddTextToStore(t.Context(), fmt.Sprint("text-", i), fmt.Sprint(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	synctest.Test(t, func(t *testing.T) {
		dst := &pausingStore{Store: memstore.New(nil)}
		dst.pause = func() {
			synctest.Wait()
			if n := src.reads.Load(); n < 1024 || n > 1025 {
				t.Errorf("%d archives are read ahead, want 1024", n-1)
			}
		}
		copied, err := store.Copy(t.Context(), dst, src, paths, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
		if err != nil || len(copied) != len(paths) {
			t.Errorf("%d of %d were copied, %v", len(copied), len(paths), err)
		}
	})
}
