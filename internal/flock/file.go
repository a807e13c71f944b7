package flock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// A File is an open lock file and its identity. Another process may delete the file and create a new one with the same
// name. A lock on the deleted file then excludes no other process.
type File struct {
	*os.File
	device, inode uint64
}

// Open opens a lock file, or creates it with permissions for its owner only. It does not follow a symlink.
func Open(name string) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return New(f)
}

// New returns f as a lock file. It closes f if it returns an error.
func New(f *os.File) (*File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "stat", Path: f.Name(), Err: err}, f.Close())
	}
	return &File{f, uint64(st.Dev), st.Ino}, nil
}

// IsLinked reports whether the file still has the name with which it was opened.
func (f *File) IsLinked() (bool, error) { return f.IsLinkedAs(f.Name()) }

// IsLinkedAs reports whether the file has this name. A symlink to the file does not count.
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

// IsDeleted reports whether the file has no name. It is faster than [File.IsLinked], but does not detect that the file
// was renamed.
func (f *File) IsDeleted() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}

// IsEmpty reports whether the file does not have the [StaleMark].
func (f *File) IsEmpty() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Size == 0, nil
}

// StaleMark is the contents of a lock file that was deleted. A process may have opened the file before, and get its
// lock afterwards. The mark shows it that the file has lost its name. Nix writes the same mark.
const StaleMark = "d"

// Retire writes the stale mark to a lock file that has lost its name, and closes it. Processes that wait for its lock
// continue, and open the new file with this name.
func (f *File) Retire() {
	f.WriteString(StaleMark)
	f.Close()
}
