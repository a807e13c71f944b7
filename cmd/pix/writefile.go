package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// writeFile writes a file that the user names. It replaces an existing file in one step and keeps its mode and its owner, so an error
// leaves the old contents. If the file cannot be replaced, it is emptied and written. writeFile follows symlinks. A pipe or a device is
// opened and written, until ctx ends.
func writeFile(ctx context.Context, file string, contents []byte) error {
	if isDescriptor(file) {
		return orInterrupted(ctx, func() error { return writeInto(file, os.O_APPEND, contents) })
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(file); err == nil { // a symlink to a missing file, which a rename would replace
			return writeInto(file, os.O_CREATE, contents)
		}
		return writeRenamed(file, nil, contents)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return orInterrupted(ctx, func() error { return writeInto(file, 0, contents) })
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0) // a rename would replace a file that the user may not write
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	err = writeRenamed(target, info, contents)
	if errors.As(err, new(*notReplacedError)) {
		return writeInto(file, os.O_TRUNC, contents)
	}
	return err
}

// A notReplacedError reports that a new file could not take the place of an old one that the user may write.
type notReplacedError struct{ err error }

func (e *notReplacedError) Error() string { return e.err.Error() }

func (e *notReplacedError) Unwrap() error { return e.err }

// replaceError returns a [*notReplacedError] for an error that writing into the old file would not have: the user may not write the
// directory or give the file to its owner, the directory is on a read-only file system, or the file is a mount point, as in a container.
func replaceError(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EBUSY) {
		return &notReplacedError{err}
	}
	return err
}

// writeRenamed writes a new file beside the named one and renames it. The new file gets the mode and the owner of the old one, if there
// is one. It has them before it has contents, which other users may not be allowed to read.
func writeRenamed(file string, old fs.FileInfo, contents []byte) error {
	temp, perm := filepath.Join(filepath.Dir(file), ".pix-"+rand.Text()), fs.FileMode(0o666)
	if old != nil {
		perm = 0o600
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			err = &fs.PathError{Op: "create", Path: file, Err: failed.Err} // the user does not know the temporary name
		}
		return replaceError(err)
	}
	if old != nil {
		err = replaceError(errors.Join(takeOwner(f, old), f.Chmod(old.Mode())))
	}
	if err == nil {
		_, err = f.Write(contents)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = replaceError(os.Rename(temp, file))
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}

// writeInto opens a file with more flags and writes it.
func writeInto(file string, flags int, contents []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|flags, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	return errors.Join(err, f.Close())
}

// isDescriptor reports whether a name stands for an open file of a process, such as /dev/stdout. That file may have been opened for
// appending, or have no name any more.
func isDescriptor(file string) bool {
	abs, err := filepath.Abs(file)
	if err != nil {
		return false
	}
	return abs == "/dev/stdout" || abs == "/dev/stderr" || strings.HasPrefix(abs, "/dev/fd/") ||
		strings.HasPrefix(abs, "/proc/") && strings.Contains(abs, "/fd/")
}
