// Package regular opens files that must be regular. A pipe or a device may have the name instead.
package regular

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrOther reports that a file is a directory, a named pipe, a device or a socket.
var ErrOther = errors.New("it is not a regular file")

// Open opens a regular file with these flags. It returns [ErrOther] for every other kind of file: os.Open of a named
// pipe waits until another process opens the pipe, and no context and no signal ends that.
func Open(name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(name, flags|unix.O_NONBLOCK, 0o600)
	return check(f, name, err)
}

// OpenIn opens a regular file below root for reading. Its errors are the same as those of [Open]. It does not follow a
// symlink.
func OpenIn(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	return check(f, name, err)
}

// check closes f and returns an error if f is not a regular file.
func check(f *os.File, name string, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrOther}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
