// Package buildlogs reads the build logs in the log directory of a store, also of builds that run.
//
// The log of a derivation is the file drvs/xx/rest, where xxrest is its base name, or drvs/xxrest, the name in very old
// versions of Nix. Nix compresses logs with bzip2 by default, and the extension of the file shows that.
//
// Source: LocalFSStore::getBuildLogExact in src/libstore/local-fs-store.cc.
package buildlogs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/internal/compression"
	"pix/storepath"
)

// extensions are the extensions of logs, in the order in which they are tried.
var extensions = []string{"", ".bz2", ".zst", ".xz"}

// A Log is an open build log, decompressed.
type Log struct {
	io.Reader
	io.Closer
}

// Open opens the log of a derivation. The error is [fs.ErrNotExist] if there is none.
func Open(logDir string, drv storepath.Path) (*Log, error) {
	f, ext, err := openFile(logDir, drv)
	if err != nil {
		return nil, err
	}
	return decode(f, f, f.Name(), ext)
}

// Exists reports whether there is a log of a derivation. An error means that this cannot be determined.
func Exists(logDir string, drv storepath.Path) (bool, error) {
	for _, name := range names(logDir, drv) {
		for _, ext := range extensions {
			_, err := os.Lstat(name + ext)
			if err == nil {
				return true, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return false, err
			}
		}
	}
	return false, nil
}

// names returns the files in which the log of a derivation may be, without an extension.
func names(logDir string, drv storepath.Path) []string {
	base, dir := drv.Base(), filepath.Join(logDir, "drvs")
	return []string{filepath.Join(dir, base[:2], base[2:]), filepath.Join(dir, base)}
}

// openFile opens the file with a log. It opens no other kinds of files: opening a named pipe would wait for ever.
func openFile(logDir string, drv storepath.Path) (f *os.File, ext string, err error) {
	for _, name := range names(logDir, drv) {
		for _, ext := range extensions {
			f, err := os.OpenFile(name+ext, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
				continue
			}
			if err != nil {
				return nil, "", err
			}
			if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
				return nil, "", errors.Join(err, fmt.Errorf("'%s' is not a regular file", name+ext), f.Close())
			}
			return f, ext, nil
		}
	}
	return nil, "", fs.ErrNotExist
}

// decode returns the log that r has. Closing it closes c.
func decode(r io.Reader, c io.Closer, name, ext string) (*Log, error) {
	decoded, err := compression.ByExtension(ext, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("'%s': %w", name, err), c.Close())
	}
	return &Log{decoded, c}, nil
}
