package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"pix/derivation"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/regular"
	"pix/store"
	"pix/storepath"
)

// The longest derivations that were ever seen have a few megabytes. In memory one may take six
// times its length.
const (
	maxDerivation   = 32 << 20 // bytes
	largeDerivation = 1 << 20  // of those that are longer there is one at a time
)

// A drvReader reads derivations for one call, which has them in memory until it is closed.
type drvReader struct {
	s     *Store
	large bool // this call has the turn of large ones
}

// admit waits for the turn of large derivations, if that is one.
func (r *drvReader) admit(ctx context.Context, size int64) error {
	if r.large || size <= largeDerivation {
		return nil
	}
	select {
	case r.s.largeDrvs <- struct{}{}:
		r.large = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *drvReader) close() {
	if r.large {
		<-r.s.largeDrvs
		r.large = false
	}
}

// read reads a derivation, which need not be valid.
func (r *drvReader) read(ctx context.Context, path storepath.Path) (*derivation.Derivation, error) {
	text, err := r.text(ctx, path)
	if err != nil {
		return nil, err
	}
	return store.ParseDerivation(path, text)
}

// inputText reads an input of a derivation, and compares it with its info, which is in the database or among the
// paths that are about to be registered. A file that is not valid was never checked.
func (r *drvReader) inputText(ctx context.Context, path storepath.Path, among map[storepath.Path]*store.PathInfo) (string, error) {
	info := among[path]
	if info == nil {
		var err error
		info, err = r.s.QueryPathInfo(ctx, path)
		if errors.Is(err, store.ErrNotFound) { // the caller asked about the derivation that needs it
			err = &store.MissingReferenceError{Reference: path}
		}
		if err != nil {
			return "", fmt.Errorf("input derivation '%s': %w", path, err)
		}
	}
	text, err := r.text(ctx, path)
	if err != nil {
		return "", err
	}
	if hash, _ := objects.HashFileArchive([]byte(text)); hash != info.NARHash {
		return "", &store.ModifiedError{Path: path, Expected: info.NARHash, Got: hash}
	}
	return text, nil
}

func (r *drvReader) text(ctx context.Context, path storepath.Path) (string, error) {
	root, err := os.OpenRoot(r.s.storeDir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	f, err := regular.OpenIn(root, path.Base())
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Size() > maxDerivation {
		return "", fmt.Errorf("derivation '%s' has %d bytes, at most %d are read", path, info.Size(), maxDerivation)
	}
	if err := r.admit(ctx, info.Size()); err != nil {
		return "", err
	}
	var text strings.Builder
	text.Grow(int(info.Size()))
	n, err := io.Copy(&text, io.LimitReader(f, info.Size()+1))
	if err == nil && n != info.Size() {
		err = errors.New("its length changed while it was read")
	}
	if err != nil {
		return "", fmt.Errorf("reading derivation '%s': %w", path, err)
	}
	return text.String(), nil
}

// A drvStore is a store of which the derivations are read in turn.
type drvStore struct {
	*Store
	reader drvReader
}

// LendDerivations returns the same store, in which derivations are read in turn if they are large.
func (s *Store) LendDerivations() (lent store.Store, release func()) {
	d := &drvStore{Store: s, reader: drvReader{s: s}}
	return d, d.reader.close
}

// NARFromPath implements [store.NARReader].
func (d *drvStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := d.QueryPathInfo(ctx, path)
	if err == nil {
		err = d.reader.admit(ctx, int64(min(info.NARSize, maxDerivation)))
	}
	if err != nil {
		return nil, err
	}
	return d.Store.NARFromPath(ctx, path)
}
