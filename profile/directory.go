package profile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A directory is an open directory. Its methods work on the files in it, and follow no symlinks. Another user who owns
// the directory can rename it and put another one in its place, so a change that uses names of directories could work on
// two directories.
type directory struct{ *os.File }

const openDirectory = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC // O_DIRECTORY does not wait for a writer of a FIFO

// openDir opens the directory dir below anchor. No part of dir may be a symlink; anchor may be one.
func openDir(anchor, dir string) (*directory, error) {
	d, err := newDirectory(anchor, func() (int, error) { return unix.Open(anchor, openDirectory, 0) })
	if err != nil || dir == "." {
		return d, err
	}
	for part := range strings.SplitSeq(dir, "/") {
		next, err := d.openDir(part)
		d.Close()
		if err != nil {
			return nil, err
		}
		d = next
	}
	return d, nil
}

// openDir opens a directory in d.
func (d *directory) openDir(name string) (*directory, error) {
	return newDirectory(d.path(name), func() (int, error) { return unix.Openat(d.fd(), name, openDirectory|unix.O_NOFOLLOW, 0) })
}

func newDirectory(name string, open func() (int, error)) (*directory, error) {
	fd, err := retryInt(open)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &directory{os.NewFile(uintptr(fd), name)}, nil
}

func (d *directory) fd() int { return int(d.Fd()) }

// path returns the name of a file for messages.
func (d *directory) path(name string) string { return filepath.Join(d.Name(), name) }

// A fileInfo is the kind of a file, and its time of change.
type fileInfo struct {
	mode uint32 // of [unix.S_IFMT]
	time time.Time
}

func (i fileInfo) isSymlink() bool { return i.mode == unix.S_IFLNK }
func (i fileInfo) isDir() bool     { return i.mode == unix.S_IFDIR }

func (d *directory) lstat(name string) (fileInfo, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return fileInfo{}, &fs.PathError{Op: "stat", Path: d.path(name), Err: err}
	}
	return fileInfo{uint32(st.Mode) & unix.S_IFMT, time.Unix(st.Mtim.Unix())}, nil
}

func (d *directory) readlink(name string) (string, error) {
	b := make([]byte, unix.PathMax+1)
	n, err := retryInt(func() (int, error) { return unix.Readlinkat(d.fd(), name, b) })
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: d.path(name), Err: err}
	}
	return string(b[:n]), nil
}

// symlink creates a symlink. An existing file is [fs.ErrExist].
func (d *directory) symlink(target, name string) error {
	err := retry(func() error { return unix.Symlinkat(target, d.fd(), name) })
	if err != nil {
		return &os.LinkError{Op: "symlink", Old: target, New: d.path(name), Err: err}
	}
	return nil
}

func (d *directory) rename(from, to string) error {
	err := retry(func() error { return unix.Renameat(d.fd(), from, d.fd(), to) })
	if err != nil {
		return &os.LinkError{Op: "rename", Old: d.path(from), New: d.path(to), Err: err}
	}
	return nil
}

// remove deletes a file that is not a directory.
func (d *directory) remove(name string) error {
	err := retry(func() error { return unix.Unlinkat(d.fd(), name, 0) })
	if err != nil {
		return &fs.PathError{Op: "remove", Path: d.path(name), Err: err}
	}
	return nil
}

// create opens or creates a file for reading and writing, which only its owner may do. It follows no symlink, and does
// not wait for the other end of a FIFO.
func (d *directory) create(name string) (*os.File, error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.path(name), Err: err}
	}
	return os.NewFile(uintptr(fd), d.path(name)), nil
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func retryInt(call func() (int, error)) (n int, err error) {
	err = retry(func() error {
		n, err = call()
		return err
	})
	return n, err
}
