package objects

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
)

// Move renames an object within the store directory. It returns [fs.ErrExist] if the new name exists.
func Move(from, to string) error {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "move", Path: to, Err: cmp.Or(err, fs.ErrExist)}
	}
	isDir, err := makeMovable(from)
	if err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return restoreMetadata(isDir, to)
}

// Exchange gives an object the name of another one, which then has the name from or aside. At every moment one of the
// two objects has the name to, if the file system can exchange names in one step.
func Exchange(from, to, aside string) error {
	isDir, err := makeMovable(from)
	if err != nil {
		return err
	}
	if _, err := makeMovable(to); IgnoreNotExist(err) != nil {
		return err
	}
	if err := swap(from, to, aside); err != nil {
		return err
	}
	return restoreMetadata(isDir, to)
}

// swapInSteps renames to, if it exists, to aside, and then from to to. Between the two steps no file has the name to.
func swapInSteps(from, to, aside string) error {
	if err := IgnoreNotExist(os.Rename(to, aside)); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// makeMovable sets the write bit of an object that is a directory, because only root can move a directory without it
// to another directory. It reports whether the object is a directory.
func makeMovable(name string) (isDir bool, err error) {
	info, err := os.Lstat(name)
	if err != nil || !info.IsDir() {
		return false, err
	}
	return true, os.Chmod(name, 0o755)
}

// restoreMetadata sets the mode and the time of an object that was moved, if it is a directory.
func restoreMetadata(isDir bool, name string) error {
	if !isDir {
		return nil
	}
	return errors.Join(os.Chmod(name, 0o555), os.Chtimes(name, Time, Time))
}
