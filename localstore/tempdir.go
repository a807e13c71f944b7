package localstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nixbase32"
	"pix/storepath"
)

// A tempDir is a directory in the store directory, for objects whose paths are not known or not
// checked yet, or that are to replace others.
//
// Collectors must let it alone. Those of Nix from 2.12 on do so if its name begins with "tmp-"
// and it is locked, but older ones delete whatever has no name of a store path. So it has such a
// name, and that is a temporary root, which all of them heed.
type tempDir struct {
	s    *Store
	path storepath.Path
	held temproots.Held // the root that keeps the directory
	name string
	root *os.Root
}

// tempPrefix is how the names of temporary directories begin, after the hash part.
const tempPrefix = "pix-tmp-"

// isTempName reports whether a path is the name of a temporary directory. There never is an object
// under it that anybody could want to know of.
func isTempName(path storepath.Path) bool { return strings.HasPrefix(path.Name(), tempPrefix) }

// tempNames are the names that the temporary directories of one open store have, one after the
// other. To make a root of one takes a while, so it stays one.
type tempNames struct {
	mu    sync.Mutex
	free  []storepath.Path
	roots *temproots.Roots // nil if the store is read-only
}

// take returns a name that no other temporary directory has, and that is a temporary root.
func (n *tempNames) take(ctx context.Context, dir storepath.Dir) (path storepath.Path, held temproots.Held, err error) {
	n.mu.Lock()
	if last := len(n.free) - 1; last >= 0 {
		path = n.free[last]
		n.free = n.free[:last]
	}
	n.mu.Unlock()
	if path == "" {
		var hash [storepath.HashPartLen * 5 / 8]byte
		rand.Read(hash[:])
		path, err = dir.ParseBase(nixbase32.EncodeToString(hash[:]) + fmt.Sprintf("-%s%d", tempPrefix, os.Getpid()))
		if err != nil {
			return "", held, err
		}
	}
	held, err = n.roots.Add(ctx, path) // also if it is a root already: its file may have been deleted
	return path, held, err
}

// giveBack is for who needs a name no longer.
func (n *tempNames) giveBack(path storepath.Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.free = append(n.free, path)
}

func (s *Store) makeTempDir(ctx context.Context) (*tempDir, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	// What is added next must go into the store that is there now.
	if _, err := s.database(ctx, false); err != nil {
		return nil, err
	}
	path, held, err := s.tempNames.take(ctx, s.dir)
	if err != nil {
		return nil, err
	}
	d := &tempDir{s: s, path: path, held: held, name: s.object(path)}
	d.root, err = inStoreDir(s.shared, func() (*os.Root, error) {
		if err := os.Mkdir(d.name, 0o700); err != nil {
			return nil, err
		}
		return os.OpenRoot(d.name)
	})
	if errors.Is(err, syscall.EROFS) {
		err = cmp.Or(s.checkWritable(), err)
	}
	if err != nil {
		d.remove()
		return nil, err
	}
	return d, nil
}

// remove removes the directory and what is in it.
func (d *tempDir) remove() error {
	if d.root != nil {
		d.root.Close()
	}
	dir, err := os.Open(d.s.storeDir)
	if err == nil {
		_, err = objects.RemoveIn(dir, d.path.Base())
		dir.Close()
	}
	if objects.IgnoreNotExist(err) == nil {
		d.s.tempNames.giveBack(d.path) // else something is left under that name
	}
	return err
}

// tempObject is the name of the object in a temporary directory, where there is one alone.
const tempObject = "x"

// object returns where an object in the directory is.
func (d *tempDir) object(name string) string { return filepath.Join(d.name, name) }

// moveTo moves an object to another name in the store directory. It returns [fs.ErrExist] if the name exists. If the
// directory was not a root all the time, a collector may have deleted files in it, and the error is
// [temproots.ErrLost].
func (d *tempDir) moveTo(object, to string) error {
	if err := d.held.Check(); err != nil {
		return err
	}
	return objects.Move(d.object(object), to)
}

// exchange replaces an object of the store directory by one in the temporary directory, which then contains the old
// one. One of the two is always in place, even if the process is killed. It returns the same errors as moveTo.
func (d *tempDir) exchange(object, to string) error {
	if err := d.held.Check(); err != nil {
		return err
	}
	return objects.Exchange(d.object(object), to, d.object("old"))
}
