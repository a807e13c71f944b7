package localstore

import (
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
	err = r.remove(int(dir.Fd()), name)
	return r.freed, ignoreMissing(err)
}

type treeRemover struct{ freed uint64 }

// remove goes on after an error, and returns the first.
func (r *treeRemover) remove(dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return pathError("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return r.removeDir(dir, name)
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil {
		return pathError("remove", name, err)
	}
	if st.Nlink <= 2 {
		r.freed += uint64(st.Size)
	}
	return nil
}

func (r *treeRemover) removeDir(parent int, name string) error {
	dir, err := openWritableDir(parent, name)
	if err != nil {
		return err
	}
	names, first := dir.Readdirnames(-1)
	for _, child := range names {
		if err := r.remove(int(dir.Fd()), child); ignoreMissing(err) != nil && first == nil {
			first = err
			if child, ok := errors.AsType[*os.PathError](err); ok {
				child.Path = name + "/" + child.Path
			}
		}
	}
	if err := dir.Close(); err != nil && first == nil {
		first = err
	}
	if first != nil {
		return first
	}
	return pathError("remove", name, unix.Unlinkat(parent, name, unix.AT_REMOVEDIR))
}

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
