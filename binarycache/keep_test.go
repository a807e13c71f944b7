package binarycache_test

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

// A slowSource calls wait before the first byte of an archive comes.
type slowSource struct {
	*memstore.Store
	wait func(ctx context.Context, path storepath.Path) error
}

func (s *slowSource) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	archive, err := s.Store.NARFromPath(ctx, path)
	return &slowArchive{archive, func() error { return s.wait(ctx, path) }}, err
}

type slowArchive struct {
	io.ReadCloser
	wait func() error
}

func (a *slowArchive) Read(p []byte) (int, error) {
	if wait := a.wait; wait != nil {
		a.wait = nil
		if err := wait(); err != nil {
			return 0, err
		}
	}
	return a.ReadCloser.Read(p)
}

func largeObjects(t *testing.T, n int) (*slowSource, []storepath.Path) {
	t.Helper()
	src := &slowSource{Store: memstore.New(nil)}
	var paths []storepath.Path
	for i := range n {
		contents := strings.NewReader(strings.Repeat(fmt.Sprintf("%07d\n", i), 2<<20/8))
		info, err := src.AddToStore(t.Context(), fmt.Sprintf("large-%d", i), storepath.Flat, nixhash.SHA256, nil, contents, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, info.Path)
	}
	return src, paths
}

// Large archives are compressed beside each other.
func TestLargeArchivesAtOnce(t *testing.T) {
	src, paths := largeObjects(t, 6)
	pairs := make(chan struct{})
	src.wait = func(context.Context, storepath.Path) error {
		select {
		case pairs <- struct{}{}:
		case <-pairs:
		case <-time.After(10 * time.Second):
			return errors.New("no other archive is read meanwhile")
		}
		return nil
	}
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

// When one fails, or cannot even be opened, nobody waits for another that does not come.
func TestLargeArchiveFails(t *testing.T) {
	broken := errors.New("it broke off")
	for _, opening := range []bool{false, true} {
		src, paths := largeObjects(t, 2)
		src.wait = func(ctx context.Context, path storepath.Path) error {
			if path == paths[1] {
				return broken
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}
		var from store.Store = src
		if opening {
			from = &unopened{src, paths[1], broken}
		}
		c := open(t, "file://"+t.TempDir(), nil)
		ended := make(chan error, 1)
		go func() {
			_, err := store.Copy(t.Context(), c, from, paths, nil)
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, broken) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("opening %v: it waits for what does not come", opening)
		}
	}
}

// An unopened store cannot open one archive.
type unopened struct {
	*slowSource
	path storepath.Path
	err  error
}

func (s *unopened) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path == s.path {
		return nil, s.err
	}
	return s.slowSource.NARFromPath(ctx, path)
}
