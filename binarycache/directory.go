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
	sync bool // directories, after they have a new name
}

func (d *directory) close() {}

// exists reports whether there is such a directory.
func (d *directory) exists() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.IsDir()
}

// place returns where a file is that a cache names, as long as it is in the cache.
func (d *directory) place(name string) (string, error) {
	segments := strings.Split(name, "/")
	outside := slices.Contains(segments, "..") || slices.Contains(segments, ".")
	if name == "" || name[0] == '/' || outside || strings.Contains(name, "\x00") {
		return "", fmt.Errorf("the name %q is not one in a binary cache", name)
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
	place, err := d.place(name)
	if err != nil {
		return nil, err
	}
	f, _, err := openRegular(place)
	if err != nil {
		return nil, err
	}
	return &contextFile{f, ctx}, nil
}

// openRegular opens a regular file, and nothing else.
func openRegular(name string) (*os.File, fs.FileInfo, error) {
	// Without waiting for a writer, if it is a pipe.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("'%s' is no file", name)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// openArchive opens what the URL of a narinfo names. As for Nix that is the name of a file
// in the cache, and nothing in it has another meaning.
func (d *directory) openArchive(ctx context.Context, ref string, _ uint64) (io.ReadCloser, error) {
	return d.open(ctx, ref)
}

// A contextFile ends with a context.
type contextFile struct {
	*os.File
	ctx context.Context
}

func (f *contextFile) Read(p []byte) (int, error) {
	if f.ctx.Err() != nil {
		return 0, ended(f.ctx)
	}
	return f.File.Read(p)
}

// WriteTo hides that of the file, which knows no context.
func (f *contextFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f})
}

// has reports whether there is a file of that name and, unless it is negative, that size.
func (d *directory) has(name string, size int64) bool {
	place, err := d.place(name)
	if err != nil {
		return false
	}
	info, err := os.Stat(place)
	return err == nil && info.Mode().IsRegular() && (size < 0 || info.Size() == size)
}

// A draft is a file that nobody else knows of, until it gets its name.
type draft struct {
	*os.File
	dir *directory
}

// create makes a draft for a file in the directory in which one of that name is.
func (d *directory) create(name string) (*draft, error) {
	place, err := d.place(name)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(place)
	if err := d.mkdirAll(folder); err != nil {
		return nil, err
	}
	place = filepath.Join(folder, ".tmp-"+rand.Text())
	f, err := os.OpenFile(place, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &draft{f, d}, nil
}

// publish makes the draft readable for all users, syncs it to the disk, and then renames it. With the option, the
// new name is on the disk too, before a file that depends on this one gets its name.
func (f *draft) publish(name string) error {
	place, err := f.dir.place(name)
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
		err = os.Rename(f.Name(), place)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return f.dir.syncNames(filepath.Dir(place))
}

// discard removes the draft, if it was not published.
func (f *draft) discard() {
	if f.Close() == nil {
		os.Remove(f.Name())
	}
}

// write writes a file, of which nobody ever sees a part.
func (d *directory) write(name string, contents io.Reader) error {
	f, err := d.create(name)
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := io.Copy(f, contents); err != nil {
		return err
	}
	return f.publish(name)
}

// mkdirAll makes a directory and the missing ones above it.
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

// syncNames writes the names in a folder to the disk, if the options say so.
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

// prepare makes what every cache has, if it is not there.
func (d *directory) prepare(cacheInfo string) error {
	for _, folder := range []string{"nar", "realisations", "log"} {
		if err := d.mkdirAll(filepath.Join(d.path, folder)); err != nil {
			return err
		}
	}
	if d.has(cacheInfoFile, -1) {
		return nil
	}
	return d.write(cacheInfoFile, strings.NewReader(cacheInfo))
}

// hashParts calls visit with the hash part of each narinfo, in no order. The error is a [*NoCacheError] if
// the directory does not exist: for an empty list, a misspelled name would look like a whole cache.
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
