// Package modes makes directories that everybody can read, whatever the umask of the process is.
//
// A store, a cache and the links to what was built are made for other users and other processes,
// too. Nix sets its umask to 022 when it starts. A library must not: the umask belongs to the
// whole process.
package modes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// Directory is the mode of a directory that everybody may read and its owner may change.
	Directory fs.FileMode = 0o755

	// File is the mode of a file of that kind.
	File fs.FileMode = 0o644
)

// MkdirAll makes a directory and the missing ones above it, each with the mode [Directory].
// Directories that are there keep their modes.
func MkdirAll(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	dir = filepath.Clean(dir)
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	return mkdir(dir)
}

// mkdir makes one directory, unless another process makes it first.
func mkdir(dir string) error {
	// The umask takes permissions away and never adds any. So the directory is never open to
	// writers for a moment, and most umasks leave nothing to be done.
	err := os.Mkdir(dir, Directory)
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil
		}
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil || info.Mode().Perm() == Directory {
		return err
	}
	return chmod(dir, info.Mode()&fs.ModeSetgid|Directory)
}

// chmod changes the mode of a directory. If another user puts a symlink in the place of the
// directory, nothing outside of its parent is changed.
func chmod(dir string, mode fs.FileMode) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Chmod(filepath.Base(dir), mode)
}
