package localstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A tempDir is a directory in the store directory, for an object whose path is not known yet
// or that is to replace another. A collector lets one alone that is locked, which is known by
// the beginning of its name; see createTempDirInStore in src/libstore/local-store.cc of Nix.
type tempDir struct {
	name string
	root *os.Root
	self *os.File // holds the lock
}

func (s *shared) makeTempDir(ctx context.Context) (*tempDir, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	for {
		d := &tempDir{name: filepath.Join(s.storeDir, fmt.Sprintf("tmp-%d-%s", os.Getpid(), rand.Text()[:10]))}
		if err := os.Mkdir(d.name, 0o700); err != nil {
			return nil, err
		}
		if err := d.open(ctx); err != nil {
			d.remove()
			// A collector may have been there before it was locked.
			if errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
				continue
			}
			return nil, err
		}
		return d, nil
	}
}

func (d *tempDir) open(ctx context.Context) (err error) {
	if d.self, err = os.Open(d.name); err != nil {
		return err
	}
	if err = lock(ctx, d.self, lockExclusive, nil); err != nil {
		return err
	}
	d.root, err = os.OpenRoot(d.name)
	return err
}

// remove removes the directory and what is in it.
func (d *tempDir) remove() error {
	var err error
	if d.root != nil {
		err = removeObject(d.root, tempObject)
		d.root.Close()
	}
	err = errors.Join(err, os.Remove(d.name))
	if d.self != nil {
		d.self.Close()
	}
	return err
}

// tempObject is the name of the object in a temporary directory.
const tempObject = "x"

// object returns the name of the object.
func (d *tempDir) object() string { return filepath.Join(d.name, tempObject) }

// moveTo moves the object to a name in another directory. If there is something the error is
// [fs.ErrExist].
func (d *tempDir) moveTo(root *os.Root, name string) error {
	from, to := d.object(), filepath.Join(root.Name(), name)
	if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "move", Path: to, Err: cmp.Or(err, fs.ErrExist)}
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return os.Rename(from, to)
	}
	// Only root may move a directory that is read-only.
	if err := os.Chmod(from, 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := os.Chmod(to, 0o555); err != nil {
		return err
	}
	return os.Chtimes(to, objectTime, objectTime)
}
