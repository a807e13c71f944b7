package localstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

// removeObject removes what has that name, whatever it is.
func removeObject(name string) error {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = removeTree(dir, filepath.Base(name))
	return err
}

// lstat looks at a file, not at what it leads to if it is a symlink.
func lstat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	return &st, nil
}

// objectTime is the time of access and modification of everything in a store.
var objectTime = time.Unix(1, 0)

// finishFile closes a file that was made under a name in root and cannot be executed, and gives
// it the mode and time of everything in a store. After an error nothing is left of it.
func finishFile(root *os.Root, f *os.File, err error) error {
	name := filepath.Base(f.Name())
	if err == nil {
		err = f.Chmod(0o444)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = root.Chtimes(name, objectTime, objectTime)
	}
	if err != nil {
		root.Remove(name)
	}
	return err
}

// contentHash returns the hashes of the object under a name in a directory, by the method and the
// algorithm of its content address. Git does not replace the object's own hash part.
func contentHash(ctx context.Context, root *os.Root, name string, info *store.PathInfo) (nar.ContentHashes, error) {
	method, algo := info.CA.Method(), info.CA.Hash().Algorithm()
	if method == storepath.Git {
		hash, err := gitHash(ctx, root, name, algo)
		return nar.ContentHashes{Plain: hash, WithOffsets: hash}, err
	}
	h, err := nar.NewModuloHasher(algo, info.Path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	if method == storepath.NAR {
		err = nar.Dump(ctx, h, filepath.Join(root.Name(), name), nil)
	} else {
		err = copyFile(h, root, name)
	}
	return h.Finish(), err
}

// copyFile writes the contents of a file to dst.
func copyFile(dst io.Writer, root *os.Root, name string) error {
	f, err := openFile(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(dst, f)
	return err
}

// openFile opens a regular file, and nothing else.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is no regular file")})
	}
	return f, nil
}
