package localstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"pix/internal/removetree"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nar"
	"pix/nixbase32"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Step 2 of adding an object: write it in a temporary directory, and compare it with its path info.

// smallArchive is the size in bytes up to which an archive is read into memory, and restored under its final name.
const smallArchive = 128 << 10

// readArchive reads an archive into memory. It does not read more bytes than the size in the info.
func readArchive(info *store.PathInfo, archive io.Reader) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, info.NARSize))
	_, err := nar.Copy(&limitedWriter{buf, info.NARSize}, archive)
	if errors.Is(err, errLimit) {
		err = sizeMismatch(info)
	}
	return buf.Bytes(), err
}

var errLimit = errors.New("the limit is exceeded")

// A limitedWriter returns errLimit from a write that would exceed the limit.
type limitedWriter struct {
	io.Writer
	left uint64 // bytes
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > w.left {
		return 0, errLimit
	}
	w.left -= uint64(len(p))
	return w.Writer.Write(p)
}

// create restores an archive under a name in root. It returns an error, and leaves no file, if the archive differs from
// the info.
func (s *Store) create(ctx context.Context, root *os.Root, name string, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	hasher := nar.NewHasher(nixhash.SHA256)
	tee := io.Writer(hasher)
	var self *nar.RefScanner
	if isNARHash(info.CA) {
		self = nar.NewRefScanner([]storepath.Path{info.Path})
		tee = io.MultiWriter(hasher, self)
	}
	err := nar.Restore(ctx, root, name, archive, &nar.RestoreOptions{
		InPlace:   true,
		Canonical: true,
		Tee:       tee,
		MaxSize:   max(info.NARSize, 1), // an endless archive must not fill the disk
		Check: func() error {
			if err := info.CheckArchive(hasher.Hash(), hasher.Size()); err != nil || info.CA.IsZero() {
				return err
			}
			got := nar.ContentHashes{Plain: hasher.Hash(), WithOffsets: hasher.Hash()}
			if self == nil || len(self.Found()) > 0 {
				var err error
				if got, err = objects.HashContents(ctx, root, name, info); err != nil {
					return &store.InfoError{Path: info.Path, Err: fmt.Errorf("checking the contents of '%s': %w", info.Path, err)}
				}
			}
			return s.checkContents(info, got, opts)
		},
	})
	if errors.Is(err, nar.ErrTooLong) {
		err = sizeMismatch(info)
	}
	return err
}

// isNARHash reports whether a content address is the hash of the archive itself, unless the archive contains its own
// path.
func isNARHash(ca storepath.ContentAddress) bool {
	return ca.Method() == storepath.NAR && ca.Hash().Algorithm() == nixhash.SHA256
}

// checkContents returns an error if an object with these hashes does not have the content address in its info. A weak
// address needs a trusted user or a signature, because an untrusted user could upload other contents under the same
// path.
func (s *Store) checkContents(info *store.PathInfo, got nar.ContentHashes, opts *store.AddOptions) error {
	weak, err := info.CheckContents(got)
	if err == nil && weak && !s.opts.NoSignatures && !opts.Vouches(info, true, s.opts.TrustedKeys) {
		err = &store.UntrustedError{Path: info.Path, Weak: true}
	}
	return err
}

// sizeMismatch returns the error for an archive that is longer than the size in its info.
func sizeMismatch(info *store.PathInfo) error {
	return &store.MismatchError{What: "size", Path: info.Path, Specified: fmt.Sprint(info.NARSize), Got: "more"}
}

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
		_, err = removetree.Remove(dir, d.path.Base())
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
