// Package removetree deletes directories whose owner may change them at the same time.
package removetree

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove deletes a file, or a directory with everything in it, by its name in dir. It is no error if there is none. After an
// error it goes on with the rest, and returns the first error.
//
// It works relative to file descriptors and follows no symlink, so that another process that renames
// directories at the same time cannot lead it out of the tree. It does not enter a directory that something is mounted on: the
// mounted files belong to another place.
func Remove(dir *os.File, name string) error {
	r := remover{}
	return ignoreMissing(r.remove(&openDir{File: dir}, name))
}

// RemovePath deletes what path names. It follows symlinks in the directory part of path.
func RemovePath(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return ignoreMissing(err)
	}
	return errors.Join(Remove(dir, filepath.Base(path)), dir.Close())
}

// maxOpen is how many directories Remove has open at once. A tree may have any number of levels, and must not take all
// descriptors of the process.
const maxOpen = 32

type remover struct {
	depth int // directories that are being removed
}

// An openDir is a directory that is being emptied.
type openDir struct {
	*os.File             // nil while it is closed
	identity unix.Stat_t // set while it is closed
}

// remove goes on after an error, and returns the first.
func (r *remover) remove(parent *openDir, name string) error {
	var st unix.Stat_t
	fd := int(parent.Fd())
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return r.removeDir(parent, name)
	}
	return pathError("remove", name, unix.Unlinkat(fd, name, 0))
}

func (r *remover) removeDir(parent *openDir, name string) error {
	file, err := openWritable(int(parent.Fd()), name)
	if err != nil {
		return err
	}
	dir := &openDir{File: file}
	if r.depth++; r.depth > maxOpen {
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
	return pathError("remove", name, unix.Unlinkat(int(parent.Fd()), name, unix.AT_REMOVEDIR))
}

// empty removes everything in a directory.
func (r *remover) empty(dir *openDir, name string) error {
	names, first := dir.Readdirnames(-1)
	for _, child := range names {
		err := r.remove(dir, child)
		if ignoreMissing(err) != nil && first == nil {
			first = err
			if child, ok := errors.AsType[*os.PathError](err); ok {
				child.Path = name + "/" + child.Path
			}
		}
		if dir.File == nil { // it could not be opened again
			break
		}
	}
	return first
}

// suspend closes a directory while one in it is removed.
func (d *openDir) suspend() error {
	if err := unix.Fstat(int(d.Fd()), &d.identity); err != nil {
		return err
	}
	err := d.Close()
	d.File = nil
	return err
}

// resume opens a directory again, from one in it. Another process may have moved that to another place, whose
// files must not be removed, so resume checks that it is the same directory.
func (d *openDir) resume(child *openDir) error {
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

var (
	errMoved   = errors.New("it was moved to another directory")
	errMounted = errors.New("something is mounted on it")
)

const openFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openWritable opens a directory, and gives the owner all rights to it.
func openWritable(parent int, name string) (*os.File, error) {
	fd, err := openHere(parent, name)
	if errors.Is(err, unix.EACCES) {
		if err := chmod(parent, name, 0o700); err != nil {
			return nil, pathError("chmod", name, err)
		}
		fd, err = openHere(parent, name)
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

// pathError says which file an error is about; nil stays nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
