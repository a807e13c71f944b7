package binarycache_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"pix/internal/latency"
	"pix/store"
	"pix/storepath"
)

// Large archives are compressed in parallel.
func TestLargeArchivesAtOnce(t *testing.T) {
	src, paths := latency.LargeObjects(t, 6)
	src.Wait = latency.InPairs()
	c := open(t, "file://"+t.TempDir(), nil)
	if copied, err := store.Copy(t.Context(), c, src, paths, nil); err != nil || len(copied) != 6 {
		t.Fatal(len(copied), err)
	}
	for _, path := range paths {
		if archiveOf(t, c, path) != archiveOf(t, src.Store, path) {
			t.Errorf("the archives of %s differ", path)
		}
	}
}

// When one large archive fails or cannot be opened, the other is added.
func TestLargeArchiveFails(t *testing.T) {
	broken := errors.New("it broke off")
	for _, opening := range []bool{false, true} {
		src, paths := latency.LargeObjects(t, 2)
		src.Wait = func(ctx context.Context, path storepath.Path) error {
			if path == paths[1] {
				return broken
			}
			return ctx.Err()
		}
		var from store.Store = src
		if opening {
			from = &unopened{src, paths[1], broken}
		}
		t.Logf("opening: %v", opening)
		latency.CheckCopyOthers(t, broken, open(t, "file://"+t.TempDir(), nil), from, paths)
	}
}

// An unopened store fails to open one archive.
type unopened struct {
	*latency.Store
	path storepath.Path
	err  error
}

func (s *unopened) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path == s.path {
		return nil, s.err
	}
	return s.Store.NARFromPath(ctx, path)
}
