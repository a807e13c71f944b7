package localstore

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A store directory may be mounted read-only, as on NixOS: a bind mount protects the objects from all programs
// but Nix. Nix makes it writable for itself, in a mount namespace of its own. A Go program cannot change the
// namespace of all its threads. So pix works in a writable clone of the mount, which has no place in
// any namespace, and which it reaches by the name of a file descriptor, /proc/self/fd/N.

// openLayout returns the layout that the options say, with a writable store directory if possible. If that
// fails, questions can still be answered; [layout.checkWritable] returns the reason.
func openLayout(opts *Options) (layout, error) {
	l, err := newLayout(opts)
	if err != nil || opts.ReadOnly || !isReadOnlyMount(l.storeDir) {
		return l, err
	}
	clone, err := cloneWritable(l.storeDir)
	if err != nil {
		l.readOnly = err
		return l, nil
	}
	l.clone, l.storeDir = clone, fdName(clone)
	return l, nil
}

// checkWritable returns an error if the store directory is on a file system that is mounted read-only, or if this
// process has no right to write to it. An operation that first changes the database and then the objects must check
// that before.
func (l layout) checkWritable() error {
	if isReadOnlyMount(l.storeDir) {
		return &ReadOnlyMountError{l.storeName, l.readOnly}
	}
	err := unix.Faccessat(unix.AT_FDCWD, l.storeDir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if errors.Is(err, fs.ErrPermission) {
		return &fs.PathError{Op: "write", Path: l.storeName, Err: err}
	}
	return nil
}

// A ReadOnlyMountError says that nothing in a store can be changed because its directory is mounted read-only.
type ReadOnlyMountError struct {
	Dir string
	Err error // why this process cannot make it writable for itself, or nil
}

func (e *ReadOnlyMountError) Error() string {
	text := "store directory '" + e.Dir + "' is mounted read-only"
	if e.Err != nil {
		text += ", and only root can make it writable for itself: " + e.Err.Error()
	}
	return text
}

// Unwrap returns EROFS.
func (e *ReadOnlyMountError) Unwrap() error { return syscall.EROFS }

// named returns the name of a file in the store directory as the user knows it.
func (l layout) named(name string) string {
	if rest, ok := strings.CutPrefix(name, l.storeDir); ok {
		return l.storeName + rest
	}
	return name
}
