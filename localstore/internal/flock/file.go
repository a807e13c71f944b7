package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A File is an open lock file and its identity. Another process may delete the file and make
// another one of the same name; a lock on the deleted file then excludes no other process.
type File struct {
	*os.File
	device, inode uint64
}

// Open opens a lock file, and makes it, readable for its owner alone, if there is none. It does not
// follow a symlink.
func Open(name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return New(f)
}

// New returns f as a lock file. It closes f if there is an error.
func New(f *os.File) (*File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "stat", Path: f.Name(), Err: err}, f.Close())
	}
	return &File{f, uint64(st.Dev), st.Ino}, nil
}

// IsLinked reports whether the file still has the name under which it was opened.
func (f *File) IsLinked() (bool, error) { return f.IsLinkedAs(f.Name()) }

// IsLinkedAs reports whether the file has that name. A symlink to the file does not count.
func (f *File) IsLinkedAs(name string) (bool, error) {
	var st unix.Stat_t
	switch err := unix.Lstat(name, &st); err {
	case nil:
		return uint64(st.Dev) == f.device && st.Ino == f.inode, nil
	case unix.ENOENT, unix.ENOTDIR:
		return false, nil
	default:
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
}

// IsDeleted reports whether the file has lost all its names. That is faster to find out than
// [File.IsLinked], but a file that was renamed is not deleted.
func (f *File) IsDeleted() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}

// IsEmpty reports whether the file has no [StaleMark].
func (f *File) IsEmpty() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Size == 0, nil
}

// StaleMark is written into a lock file that was deleted. A process that has opened the file before
// and gets its lock afterwards sees by the mark that the file has lost its name. Nix writes the same.
const StaleMark = "d"

// Retire marks a lock file that has lost its name as stale, and closes it. The processes that wait
// for its lock go on, and look for another file.
func (f *File) Retire() {
	f.WriteString(StaleMark)
	f.Close()
}
