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

// A tempDir is a directory in the store directory in which objects are created before they have their final names.
//
// Collectors must not delete it. A collector of Nix 2.12 or later keeps a locked directory whose name begins with
// "tmp-". Older ones delete every file without the name of a store path. So the directory has the name of a store path
// that is a temporary root, which every collector keeps.
type tempDir struct {
	s    *Store
	path storepath.Path
	held temproots.Held // of the temporary root
	name string
	root *os.Root
}

// tempPrefix follows the hash part in the name of a temporary directory.
const tempPrefix = "pix-tmp-"

// isTempName reports whether a path is the name of a temporary directory.
func isTempName(path storepath.Path) bool { return strings.HasPrefix(path.Name(), tempPrefix) }

// tempNames are the names of the temporary directories of one open store. To make a name a temporary root takes a write
// to the disk, so a name is reused and stays a root.
type tempNames struct {
	mu    sync.Mutex
	free  []storepath.Path
	roots *temproots.Roots // nil if the store is read-only
}

// acquire returns a name that is a temporary root and that no other temporary directory has.
func (n *tempNames) acquire(ctx context.Context, dir storepath.Dir) (path storepath.Path, held temproots.Held, err error) {
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
	held, err = n.roots.Add(ctx, path) // a reused name too, because the file of temporary roots may have been deleted
	return path, held, err
}

// release makes a name available for another temporary directory.
func (n *tempNames) release(path storepath.Path) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.free = append(n.free, path)
}

func (s *Store) newTempDir(ctx context.Context) (*tempDir, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	// If the store was deleted, the directory must be in the store that replaces it.
	if _, err := s.database(ctx, false); err != nil {
		return nil, err
	}
	path, held, err := s.tempNames.acquire(ctx, s.dir)
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

// remove deletes the directory with its contents.
func (d *tempDir) remove() error {
	if d.root != nil {
		d.root.Close()
	}
	dir, err := os.Open(d.s.storeDir)
	if err == nil {
		_, err = objects.RemoveIn(dir, d.path.Base())
		dir.Close()
	}
	if objects.IgnoreNotExist(err) == nil { // else files remain under this name
		d.s.tempNames.release(d.path)
	}
	return err
}

// tempObject is the name of the object in a temporary directory for one object.
const tempObject = "x"

// object returns the name of a file in the directory.
func (d *tempDir) object(name string) string { return filepath.Join(d.name, name) }

// moveObject moves the object in a temporary directory for one object; see [tempDir.moveTo].
func (d *tempDir) moveObject(to string) error { return d.moveTo(tempObject, to) }

// moveTo moves an object to another name in the store directory. It returns [fs.ErrExist] if the name exists. If the
// directory was not a temporary root all the time, a collector may have deleted files in it, and moveTo returns
// [temproots.ErrLost].
func (d *tempDir) moveTo(object, to string) error {
	if err := d.held.Check(); err != nil {
		return err
	}
	return objects.Move(d.object(object), to)
}

// exchange replaces an object in the store directory by one in the temporary directory, which then contains the old
// object. A process that is killed leaves one of the two in place. It returns the same errors as moveTo.
func (d *tempDir) exchange(object, to string) error {
	if err := d.held.Check(); err != nil {
		return err
	}
	return objects.Exchange(d.object(object), to, d.object("old"))
}
