package localstore

import (
	"cmp"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// removeTree deletes a file, or a directory with everything in it, and returns how many bytes that
// probably freed. It is no error if there is none. After an error it goes on with the rest, and returns the first
// error.
//
// It follows no symlink, and does not enter a directory that something is mounted on: the mounted files
// belong to another place, such as a home directory. The owner of the tree may replace a file at any moment.
//
// As in Nix 2.34, freed counts the files that have one or two names: the second is mostly the one in
// .links, which goes too when it is the last. See _deletePath in Nix's
// src/libutil/unix/file-system.cc.
func removeTree(dir *os.File, name string) (freed uint64, err error) {
	r := treeRemover{}
	err = r.remove(&removedDir{File: dir}, name)
	return r.freed, ignoreMissing(err)
}

// maxOpenDirs is how many directories removeTree has open at once. An object has at most 64 levels, but the remains of
// a build may have any number, and must not take all descriptors of the process.
const maxOpenDirs = 32

type treeRemover struct {
	freed uint64
	depth int // directories that are being removed
}

// A removedDir is a directory that is being emptied.
type removedDir struct {
	*os.File             // nil while it is closed
	identity unix.Stat_t // set while it is closed
}

// remove goes on after an error, and returns the first.
func (r *treeRemover) remove(parent *removedDir, name string) error {
	var st unix.Stat_t
	fd := int(parent.Fd())
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return r.removeDir(parent, name)
	}
	if err := unix.Unlinkat(fd, name, 0); err != nil {
		return pathError("remove", name, err)
	}
	if st.Nlink <= 2 {
		r.freed += uint64(st.Size)
	}
	return nil
}

func (r *treeRemover) removeDir(parent *removedDir, name string) error {
	file, err := openWritableDir(int(parent.Fd()), name)
	if err != nil {
		return err
	}
	dir := &removedDir{File: file}
	if r.depth++; r.depth > maxOpenDirs {
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
func (r *treeRemover) empty(dir *removedDir, name string) error {
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
func (d *removedDir) suspend() error {
	if err := unix.Fstat(int(d.Fd()), &d.identity); err != nil {
		return err
	}
	err := d.Close()
	d.File = nil
	return err
}

// resume opens a directory again, from one in it. The owner of the tree may have moved that to another place, whose
// files must not be removed, so resume checks that it is the same directory.
func (d *removedDir) resume(child *removedDir) error {
	if child.File == nil {
		return errMoved
	}
	fd, err := unix.Openat(int(child.Fd()), "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
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

// openWritableDir opens a directory, and gives the owner all rights to it: in a store,
// directories are not writable.
func openWritableDir(parent int, name string) (*os.File, error) {
	fd, err := openDirHere(parent, name)
	if errors.Is(err, unix.EACCES) {
		if err := chmodDir(parent, name, 0o700); err != nil {
			return nil, pathError("chmod", name, err)
		}
		fd, err = openDirHere(parent, name)
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

// pathError says which file an error is about; nil stays nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}
