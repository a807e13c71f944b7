// Package removetree deletes trees whose owner may change them at the same time.
package removetree

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove deletes a file, or a directory with all its contents, by its name in dir. It returns an estimate of the bytes
// that this freed. If one file cannot be deleted, Remove deletes the others and returns the first error. It returns nil
// if the name does not exist.
//
// It does not follow symlinks, and does not enter a directory on which another file system is mounted: that file system
// may contain files that the caller does not own, such as a home directory. The owner of the tree may replace any file
// during the call.
//
// As in Nix 2.34, the estimate counts a file with at most two names. The second name is usually the one in .links,
// which a collection deletes when it is the last. See _deletePath in Nix's src/libutil/unix/file-system.cc.
func Remove(dir *os.File, name string) (freed uint64, err error) {
	r := remover{}
	err = r.remove(&openDirectory{File: dir}, name)
	return r.freed, ignoreNotExist(err)
}

// RemovePath deletes the file or tree at path like [Remove]. It follows symlinks in the directory part of path. It
// returns nil if that directory does not exist.
func RemovePath(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return ignoreNotExist(err)
	}
	_, err = Remove(dir, filepath.Base(path))
	return errors.Join(err, dir.Close())
}

// MaxOpenDirs is how many directories one call of [Remove] opens at the same time. An object has at most 64 levels, but
// what a failed build leaves can have any number of levels, and must not use up the file descriptors of the process.
const MaxOpenDirs = 32

// A remover is one call of Remove.
type remover struct {
	freed uint64 // bytes
	depth int    // directories between the file that is being removed and the top
}

// An openDirectory is a directory that is being emptied. It is closed while a directory far below it is emptied.
type openDirectory struct {
	*os.File             // nil while it is closed
	identity unix.Stat_t // set when it is closed
}

// remove deletes a file or a tree. It returns the first error, and deletes everything else.
func (r *remover) remove(parent *openDirectory, name string) error {
	var st unix.Stat_t
	fd := int(parent.Fd())
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return r.removeDir(parent, name)
	}
	if err := r.unlink(parent, name, 0); err != nil {
		return pathError("remove", name, err)
	}
	if st.Nlink <= 2 {
		r.freed += uint64(st.Size)
	}
	return nil
}

func (r *remover) removeDir(parent *openDirectory, name string) error {
	file, err := openWritableDir(int(parent.Fd()), name)
	if err != nil {
		return err
	}
	dir := &openDirectory{File: file}
	if r.depth++; r.depth > MaxOpenDirs {
		err = parent.suspend()
	}
	if err == nil {
		err = r.empty(dir, name)
	}
	r.depth--
	if parent.File == nil {
		if resuming := parent.resume(dir); resuming != nil {
			err = cmp.Or(err, pathError("open", name+"/..", resuming))
		}
	}
	if dir.File != nil {
		err = cmp.Or(err, dir.Close())
	}
	if err != nil {
		return err
	}
	return pathError("remove", name, r.unlink(parent, name, unix.AT_REMOVEDIR))
}

// unlink deletes a name in a directory. Another process that optimises the store makes a directory of an object writable
// for a moment, and then read-only again, although this process has made it writable. So unlink makes it writable again.
// It never changes the directory that has the top of the tree.
func (r *remover) unlink(parent *openDirectory, name string, flags int) (err error) {
	for range 100 {
		err = unix.Unlinkat(int(parent.Fd()), name, flags)
		if r.depth == 0 || !errors.Is(err, unix.EACCES) {
			return err
		}
		if chmod := unix.Fchmod(int(parent.Fd()), 0o700); chmod != nil {
			return err
		}
	}
	return err
}

// empty removes everything in a directory.
func (r *remover) empty(dir *openDirectory, name string) error {
	names, first := dir.Readdirnames(-1)
	for _, child := range names {
		err := r.remove(dir, child)
		if ignoreNotExist(err) != nil && first == nil {
			first = err
			if child, ok := errors.AsType[*os.PathError](err); ok {
				child.Path = name + "/" + child.Path
			}
		}
		if dir.File == nil { // resume failed
			break
		}
	}
	return first
}

// suspend closes a directory and records its identity for resume.
func (d *openDirectory) suspend() error {
	if err := unix.Fstat(int(d.Fd()), &d.identity); err != nil {
		return err
	}
	err := d.Close()
	d.File = nil
	return err
}

// resume opens a directory again as the parent of child. The owner of the tree may have moved child to another
// directory, whose files must not be removed. So resume compares the identities.
func (d *openDirectory) resume(child *openDirectory) error {
	if child.File == nil {
		return errMoved
	}
	fd, err := unix.Openat(int(child.Fd()), "..", openFlags, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "..")
	var now unix.Stat_t
	err = unix.Fstat(fd, &now)
	if err == nil && (now.Dev != d.identity.Dev || now.Ino != d.identity.Ino) {
		err = errMoved
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	d.File = file
	return nil
}

var errMoved = errors.New("it was moved to another directory")

// openWritableDir opens a directory and gives its owner all permissions: directories of an object have no write bit.
func openWritableDir(parent int, name string) (*os.File, error) {
	fd, err := OpenDir(parent, name)
	if errors.Is(err, unix.EACCES) {
		if err := ChmodDir(parent, name, 0o700); err != nil {
			return nil, pathError("chmod", name, err)
		}
		fd, err = OpenDir(parent, name)
	}
	if errors.Is(err, unix.EXDEV) {
		err = errMounted
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	dir := os.NewFile(uintptr(fd), name)
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return nil, errors.Join(pathError("chmod", name, err), dir.Close())
	}
	return dir, nil
}

var errMounted = errors.New("something is mounted on it")

const openFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// pathError returns err with the name of the file, or nil if err is nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
