package objects

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/internal/removetree"
)

// Remove deletes the object with this name, which may be any kind of file. It returns nil if the object does not exist.
func Remove(name string) error {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = removetree.Remove(dir, filepath.Base(name))
	return err
}

// TryLockDir locks a temporary directory by its name in dir. It reports false if another process has locked it. Nix
// locks the temporary directories that it uses. A file of another kind, such as a pipe, is in use by no process, and
// TryLockDir does not open it.
func TryLockDir(dir *os.File, name string) (locked bool, unlock func(), err error) {
	fd, err := removetree.OpenDir(int(dir.Fd()), name)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return true, func() {}, nil
	case err != nil:
		return false, nil, IgnoreNotExist(pathError("open", name, err))
	}
	f := os.NewFile(uintptr(fd), name)
	locked, err = flock.Try(f, flock.Exclusive)
	if err != nil || !locked {
		return false, nil, errors.Join(err, f.Close())
	}
	return true, func() { f.Close() }, nil
}
