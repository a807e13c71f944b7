package binarycache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"pix/internal/modes"
)

// A directory is a cache in the file system.
type directory struct {
	path string
	sync bool // also sync directories after renames
}

func (d *directory) close() {}

// exists reports whether the directory exists.
func (d *directory) exists() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.IsDir()
}

// pathOf returns the path of the file with a name, which must not lead out of the cache.
func (d *directory) pathOf(name string) (string, error) {
	segments := strings.Split(name, "/")
	outside := slices.Contains(segments, "..") || slices.Contains(segments, ".")
	if name == "" || name[0] == '/' || outside || strings.Contains(name, "\x00") {
		return "", fmt.Errorf("the file name %q is not valid in a binary cache", name)
	}
	return filepath.Join(d.path, filepath.FromSlash(name)), nil
}

func (d *directory) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	f, err := d.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUpTo(f, limit)
}

func (d *directory) open(ctx context.Context, name string) (io.ReadCloser, error) {
	path, err := d.pathOf(name)
	if err != nil {
		return nil, err
	}
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&contextReader{ctx, f}, f}, nil
}

// openRegular opens a file. It is an error if the file is not a regular one.
func openRegular(name string) (*os.File, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for a writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("'%s' is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openArchive opens the file that the URL of a narinfo names. As in Nix, the URL is a file name relative
// to the cache, without escapes or parameters.
func (d *directory) openArchive(ctx context.Context, ref string, _ uint64) (io.ReadCloser, error) {
	return d.open(ctx, ref)
}

// has reports whether there is a regular file with this name and, unless size is negative, this size.
func (d *directory) has(name string, size int64) bool {
	path, err := d.pathOf(name)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// A tempFile is a file that readers ignore until it is renamed to its final name.
type tempFile struct {
	*os.File
	dir *directory
}

// hasFile is has, for the interface.
func (d *directory) hasFile(_ context.Context, name string, size int64) (bool, error) {
	return d.has(name, size), nil
}

// create creates a temporary file in the directory of the file with this name.
func (d *directory) create(name string) (newFile, error) {
	path, err := d.pathOf(name)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	if err := d.mkdirAll(folder); err != nil {
		return nil, err
	}
	path = filepath.Join(folder, ".tmp-"+rand.Text())
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &tempFile{f, d}, nil
}

// Rewind ends writing.
func (f *tempFile) Rewind() error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// publish makes the file readable for all users, syncs it and renames it. With the option SyncObjects it also
// syncs the directory, so that the new name survives a power cut if a file that depends on it does.
func (f *tempFile) publish(_ context.Context, name string) error {
	path, err := f.dir.pathOf(name)
	if err == nil {
		err = f.Chmod(modes.File)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return f.dir.syncNames(filepath.Dir(path))
}

// discard removes the file, unless it was published.
func (f *tempFile) discard() {
	if f.Close() == nil {
		os.Remove(f.Name())
	}
}

// write writes a file atomically.
func (d *directory) write(ctx context.Context, name string, contents io.Reader) error {
	f, err := d.create(name)
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := io.Copy(f, contents); err != nil {
		return err
	}
	return f.publish(ctx, name)
}

// mkdirAll creates a directory and its missing parents.
func (d *directory) mkdirAll(folder string) error {
	var missing []string
	for dir := folder; d.sync && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		missing = append(missing, dir)
	}
	err := modes.MkdirAll(folder)
	for _, dir := range missing {
		if err == nil {
			err = d.syncNames(filepath.Dir(dir))
		}
	}
	return err
}

// syncNames syncs a directory, if the options say so.
func (d *directory) syncNames(folder string) error {
	if !d.sync {
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// prepare creates the files and directories that every cache has.
func (d *directory) prepare(ctx context.Context, cacheInfo string) error {
	for _, folder := range []string{"nar", "realisations", "log"} {
		if err := d.mkdirAll(filepath.Join(d.path, folder)); err != nil {
			return err
		}
	}
	if d.has(cacheInfoFile, -1) {
		return nil
	}
	return d.write(ctx, cacheInfoFile, strings.NewReader(cacheInfo))
}

// hashParts calls visit with the hash part of each narinfo, in directory order. The error is a
// [*NoCacheError] if the directory does not exist: without an error, a misspelled name would look like an
// empty cache.
func (d *directory) hashParts(visit func(hashPart string) error) error {
	f, err := os.Open(d.path)
	if os.IsNotExist(err) {
		return &NoCacheError{d.path}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(1000)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := visitNarInfo(e, visit); err != nil {
				return err
			}
		}
	}
}

func visitNarInfo(e fs.DirEntry, visit func(hashPart string) error) error {
	hashPart, ok := strings.CutSuffix(e.Name(), ".narinfo")
	if !ok || checkHashPart(hashPart) != nil {
		return nil
	}
	return visit(hashPart)
}
