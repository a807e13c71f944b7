package localstore

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The store directory may be mounted read-only, as on NixOS: a read-only bind mount protects the objects from all
// programs except Nix. Nix remounts the directory in its own mount namespace. A Go program cannot change the namespace
// of all its threads. So pix opens a writable clone of the mount, which is in no namespace, and opens files in it through
// the name of its file descriptor, /proc/self/fd/N.

// openLayout returns the layout for the options, with a writable store directory if possible. If the directory cannot be
// made writable, the store can still answer queries, and [layout.checkWritable] returns the reason.
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

// checkWritable returns an error if this process cannot write to the store directory. An operation that first changes
// the database and then the objects calls it before it changes anything.
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

// A ReadOnlyMountError reports that a store cannot be changed because its directory is mounted read-only.
type ReadOnlyMountError struct {
	Dir string
	Err error // why this process cannot remount it, or nil
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

// named returns the name of a file in the store directory for messages.
func (l layout) named(name string) string {
	if rest, ok := strings.CutPrefix(name, l.storeDir); ok {
		return l.storeName + rest
	}
	return name
}
