package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"pix/derivation"
	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/regular"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// largeDerivation is the size in bytes from which on only one call at a time reads a derivation. In memory it may need six times
// its size.
const largeDerivation = 1 << 20

// A drvReader reads derivations for one call, which keeps them in memory until it calls close.
type drvReader struct {
	s     *Store
	large bool                      // this call may read large derivations
	texts map[storepath.Path]string // contents of objects that need not be read
}

// admit waits until this call may read a derivation of this size.
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

// read returns the derivation with this path, which need not be valid.
func (r *drvReader) read(ctx context.Context, path storepath.Path) (*derivation.Derivation, error) {
	text, err := r.text(ctx, path)
	if err != nil {
		return nil, err
	}
	return store.ParseDerivation(path, text)
}

// inputText reads an input of a derivation and compares its hash with its info. The info is in the database or among
// the pending ones, which are about to be registered. A file that belongs to neither may have any contents.
func (r *drvReader) inputText(ctx context.Context, path storepath.Path, pending map[storepath.Path]*store.PathInfo) (string, error) {
	info := pending[path]
	if info == nil {
		var err error
		info, err = r.s.QueryPathInfo(ctx, path)
		if errors.Is(err, store.ErrNotFound) { // the caller did not ask for this path
			err = &store.MissingReferenceError{Reference: path}
		}
		if err != nil {
			return "", fmt.Errorf("input derivation '%s': %w", path, err)
		}
	}
	return r.checkedText(ctx, path, info.NARHash)
}

// validText reads a valid derivation and checks its hash.
func (r *drvReader) validText(ctx context.Context, path storepath.Path) (string, error) {
	var hash nixhash.Hash
	err := r.s.read(ctx, func(c *conn) (err error) {
		hash, err = (*nixdb.Conn)(c).NARHash(path)
		return err
	})
	if err != nil {
		return "", err
	}
	return r.checkedText(ctx, path, hash)
}

// checkedText reads a derivation whose archive must have this hash.
func (r *drvReader) checkedText(ctx context.Context, path storepath.Path, want nixhash.Hash) (string, error) {
	text, err := r.text(ctx, path)
	if err != nil {
		return "", err
	}
	if hash, _ := objects.HashFileArchive([]byte(text)); hash != want {
		return "", &store.ModifiedError{Path: path, Expected: want, Got: hash}
	}
	return text, nil
}

func (r *drvReader) text(ctx context.Context, path storepath.Path) (string, error) {
	if text, ok := r.texts[path]; ok {
		return text, nil
	}
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
	if info.Size() > derivation.MaxFile {
		return "", fmt.Errorf("derivation '%s' is too large: it has %d bytes, and the limit is %d", path, info.Size(), derivation.MaxFile)
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

// A drvStore is a store whose large derivations are read by one call at a time.
type drvStore struct {
	*Store
	reader drvReader
}

// LendDerivations returns the same store for reading derivations. While the caller reads a large one, no other call
// does, until release is called.
func (s *Store) LendDerivations() (lent store.Store, release func()) {
	d := &drvStore{Store: s, reader: drvReader{s: s}}
	return d, d.reader.close
}

// DerivationText implements [store.DerivationTextReader]. It needs no goroutine and no pipe, which take most of the
// time of reading the archive of a small file.
func (s *Store) DerivationText(ctx context.Context, path storepath.Path) (string, error) {
	r := drvReader{s: s, large: true} // like NARFromPath, it does not wait for other calls
	return r.validText(ctx, path)
}

// DerivationText implements [store.DerivationTextReader].
func (d *drvStore) DerivationText(ctx context.Context, path storepath.Path) (string, error) {
	return d.reader.validText(ctx, path)
}

// NARFromPath implements [store.NARReader].
func (d *drvStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := d.QueryPathInfo(ctx, path)
	if err == nil {
		err = d.reader.admit(ctx, int64(min(info.NARSize, derivation.MaxFile)))
	}
	if err != nil {
		return nil, err
	}
	return d.Store.NARFromPath(ctx, path)
}
