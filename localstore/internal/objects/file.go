package objects

import (
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Time is the time of modification and access of every file, directory and symlink of an object.
var Time = time.Unix(1, 0)

// Lstat returns the metadata of a file, directory or symlink. It does not follow a symlink.
func Lstat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return nil, pathError("stat", name, err)
	}
	return &st, nil
}

// IgnoreNotExist returns err, or nil if err reports that a file does not exist.
func IgnoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// pathError adds the operation and the name of the file to an error. It returns nil if err is nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

// WriteFile creates an object that is a file without the execute bit, from a reader, under a name in root. It also
// writes the contents to h. If it fails, no file remains.
func WriteFile(root *os.Root, name string, contents io.Reader, h hash.Hash) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(f, h), contents)
	if err == nil {
		err = f.Chmod(0o444)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = root.Chtimes(name, Time, Time)
	}
	if err != nil {
		root.Remove(name)
	}
	return err
}

// CreateFile creates an object that is a file without the execute bit. It returns [fs.ErrExist] if the name exists. If
// it fails otherwise, no file remains.
//
// It makes the system calls itself. Package os registers each file with the network poller, which took a tenth of the
// time of adding a small text.
func CreateFile(name string, contents []byte) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var fd int
	err := retryEINTR(func() (err error) {
		fd, err = unix.Open(name, flags, 0o444)
		return err
	})
	if err != nil {
		return pathError("open", name, err)
	}
	err = fillFile(fd, contents)
	if closing := unix.Close(fd); err == nil {
		err = closing
	}
	if err == nil {
		err = retryEINTR(func() error { return setTime(name) })
	}
	if err != nil {
		os.Remove(name)
		return pathError("write", name, err)
	}
	return nil
}

// fillFile writes the contents of a new file, and sets its mode: the umask may have removed bits from it.
func fillFile(fd int, contents []byte) error {
	for len(contents) > 0 {
		var n int
		err := retryEINTR(func() (err error) {
			n, err = unix.Write(fd, contents)
			return err
		})
		if err != nil {
			return err
		}
		contents = contents[n:]
	}
	return retryEINTR(func() error { return unix.Fchmod(fd, 0o444) })
}

// setTime sets the times of a file, directory or symlink to [Time].
func setTime(name string) error {
	times := []unix.Timespec{{Sec: Time.Unix()}, {Sec: Time.Unix()}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// retryEINTR calls f until no signal interrupts it.
func retryEINTR(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// ClearAttributes removes the extended attributes of a new object, such as an access control list that it inherited
// from the store directory. All files that were created in one directory have inherited the same attributes, so if the
// object itself has none, its files have none either.
func ClearAttributes(name string) error {
	found, err := clearAttributesOf(name)
	if err != nil || !found {
		return err
	}
	return filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			_, err = clearAttributesOf(path)
		}
		return err
	})
}
