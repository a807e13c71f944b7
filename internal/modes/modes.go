// Package modes creates directories that all users can read, independently of the umask of the process.
//
// Other users and processes read stores, caches and links to build results, too. Nix sets its
// umask to 022 when it starts. A library must not do that, because the umask belongs to the whole
// process.
package modes

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// Directory is the mode of a directory that all users may read and only its owner may change.
	Directory fs.FileMode = 0o755

	// File is the mode of a file that all users may read and only its owner may change.
	File fs.FileMode = 0o644
)

// MkdirAll creates a directory and its missing parents, each with the mode [Directory].
// Existing directories keep their modes.
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

// mkdir creates one directory, unless another process creates it first.
func mkdir(dir string) error {
	// The umask removes permissions and never adds any. So other users can never write to the
	// directory, and with most umasks it already has the right mode.
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

// chmod changes the mode of a directory. Another user may replace the directory with a symlink before
// that, so chmod follows no symlink out of the parent directory.
func chmod(dir string, mode fs.FileMode) error {
	parent, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Chmod(filepath.Base(dir), mode)
}
