package latency

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A Store is a store in memory whose archives are delayed.
type Store struct {
	*memstore.Store

	// Wait is called before the first byte of an archive is read. The reader returns its error.
	Wait func(ctx context.Context, path storepath.Path) error
}

// LargeObjects returns a store with n objects whose archives are larger than 2 MiB.
func LargeObjects(t testing.TB, n int) (*Store, []storepath.Path) {
	t.Helper()
	s := &Store{Store: memstore.New(nil)}
	var paths []storepath.Path
	for i := range n {
		contents := strings.NewReader(strings.Repeat(fmt.Sprintf("%07d\n", i), 2<<20/8))
		info, err := s.AddToStore(t.Context(), fmt.Sprintf("large-%d", i), storepath.Flat, nixhash.SHA256, nil, contents, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, info.Path)
	}
	return s, paths
}

// InPairs returns a function for [Store.Wait]: each archive begins together with another one, and
// fails if no other archive is read within 10 seconds.
func InPairs() func(context.Context, storepath.Path) error {
	pairs := make(chan struct{})
	return func(context.Context, storepath.Path) error {
		select {
		case pairs <- struct{}{}:
		case <-pairs:
		case <-time.After(10 * time.Second):
			return errors.New("no other archive is read at the same time")
		}
		return nil
	}
}

// CheckCopyOthers copies paths. One of them must fail with the error want. It checks that the copy returns that error soon,
// and that the other paths are valid.
func CheckCopyOthers(t testing.TB, want error, dst, src store.Store, paths []storepath.Path) {
	t.Helper()
	ended := make(chan error, 1)
	var copied []*store.PathInfo
	go func() {
		var err error
		copied, err = store.Copy(t.Context(), dst, src, paths, nil)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the copy does not end")
	}
	valid, err := dst.QueryValidPaths(t.Context(), paths, false)
	if err != nil || len(valid) != len(paths)-1 || len(copied) != len(valid) {
		t.Errorf("%d of %d are valid, and %d were copied, %v", len(valid), len(paths), len(copied), err)
	}
}

var _ store.NARReader = (*Store)(nil)

// NARFromPath returns the archive of an object, which begins after Wait has returned.
func (s *Store) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	archive, err := s.Store.NARFromPath(ctx, path)
	return &lateArchive{archive, func() error { return s.Wait(ctx, path) }}, err
}

type lateArchive struct {
	io.ReadCloser
	wait func() error // nil after it was called
}

func (a *lateArchive) Read(p []byte) (int, error) {
	if wait := a.wait; wait != nil {
		a.wait = nil
		if err := wait(); err != nil {
			return 0, err
		}
	}
	return a.ReadCloser.Read(p)
}
