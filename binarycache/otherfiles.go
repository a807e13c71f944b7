package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"pix/internal/parallel"
	"pix/internal/unsupported"
	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// maxListing is the largest size of a listing, in bytes. An entry takes about 60 bytes, and ten times as
// much memory.
const maxListing = 16 << 20

// Listing returns the listing that the cache has of the contents of an object, without downloading the
// archive. No signature covers a listing: to be certain, read the archive. The error is [fs.ErrNotExist]
// if the cache has no listing of the path, and a [*store.NotFoundError] if it does not have the path. A
// listing that is longer than the archive, or than 16 MiB, is an error. Real listings are shorter.
func (s *Store) Listing(ctx context.Context, path storepath.Path) (*nar.Listing, error) {
	n, err := s.NarInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	name := path.HashPart() + ".ls"
	var listing *nar.Listing
	err = s.readParsed(ctx, name, int64(min(n.NARSize, maxListing)), func(text []byte, _ bool) (err error) {
		listing, err = nar.ParseLS(text)
		return err
	})
	if err != nil {
		return nil, err
	}
	return listing, nil
}

// BuildLog returns the log of a derivation, which the caller must close. The error is a
// [*store.NotFoundError] if there is none.
func (s *Store) BuildLog(ctx context.Context, drv storepath.Path) (io.ReadCloser, error) {
	name, err := s.logFile(drv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.endOnClose(ctx)
	f, err := s.files.open(ctx, name)
	if err != nil {
		cancel(nil)
		if errors.Is(err, fs.ErrNotExist) {
			err = &store.NotFoundError{Path: drv}
		}
		return nil, err
	}
	return &closer{f, func() { cancel(nil) }}, nil
}

// A closer calls a function after it was closed.
type closer struct {
	io.ReadCloser
	onClose func()
}

func (c *closer) Close() error {
	defer c.onClose()
	return c.ReadCloser.Close()
}

// AddBuildLog adds the log of a derivation.
func (s *Store) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	ctx, end, err := s.startAdd(ctx)
	if err != nil {
		return err
	}
	defer end()
	name, err := s.logFile(drv)
	if err != nil {
		return err
	}
	return s.files.write(ctx, name, &contextReader{ctx, log})
}

func (s *Store) logFile(drv storepath.Path) (string, error) {
	if _, err := s.Dir().Parse(string(drv)); err != nil {
		return "", err
	}
	if !drv.IsDerivation() {
		return "", fmt.Errorf("'%s' is not a derivation, so it has no log", drv)
	}
	return "log/" + drv.Base(), nil
}

// QueryAllValidPaths returns all paths of a cache in a directory, sorted. It reads every
// narinfo. The error is a [*NoCacheError] if the directory does not exist, and [errors.ErrUnsupported]
// for a cache behind HTTP, which cannot list its paths.
func (s *Store) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	if s.local == nil {
		return nil, unsupported.Errorf("a binary cache behind HTTP cannot list its paths")
	}
	var mu sync.Mutex
	var paths []storepath.Path
	group, ctx := parallel.WithContext(ctx, s.opts.HTTP.Parallel)
	err := s.local.hashParts(func(hashPart string) error {
		group.Go(func() error {
			n, err := s.narInfo(ctx, hashPart)
			if errors.Is(err, fs.ErrNotExist) { // removed in the meantime
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			paths = append(paths, n.Path)
			return nil
		})
		return ctx.Err()
	})
	if failed := group.Wait(); failed != nil {
		return nil, failed
	}
	slices.Sort(paths)
	return paths, err
}
