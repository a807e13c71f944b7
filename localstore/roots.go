package localstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"pix/internal/modes"
	"pix/localstore/internal/objects"
	"pix/nixhash"
	"pix/storepath"
)

// autoRoots is where the links to indirect roots are: symlinks whose targets, somewhere in the file
// system, are symlinks into the store.
func (l layout) autoRoots() string { return filepath.Join(l.gcRoots(), "auto") }

// addIndirectRoot makes the symlink at link a root, for as long as it points into the store. There
// need be none yet.
func addIndirectRoot(l layout, link string) error {
	if !filepath.IsAbs(link) {
		return fmt.Errorf("making %q a root: its name is not absolute", link)
	}
	name := nixhash.Sum(nixhash.SHA1, []byte(link)).Nix32()
	return replaceSymlink(link, filepath.Join(l.autoRoots(), name))
}

// checkPermRoot returns an error if a root must not be made at link.
func checkPermRoot(l layout, link string) error {
	if !filepath.IsAbs(link) {
		return fmt.Errorf("making %q a root: its name is not absolute", link)
	}
	if isBelow(string(l.dir), link) {
		return fmt.Errorf("making %q a root: creating a garbage collector root in the store is forbidden", link)
	}
	st, err := os.Lstat(link)
	if err != nil {
		return objects.IgnoreNotExist(err)
	}
	if st.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(link)
		if err != nil {
			return err
		}
		if isBelow(string(l.dir), target) {
			return nil
		}
	}
	return fmt.Errorf("making %q a root: it exists, and is no symlink into the store: %w", link, fs.ErrExist)
}

// addPermRoot makes a symlink at link to path, and that an indirect root. The path has to be a
// temporary root, so that a collector which runs keeps it.
func addPermRoot(l layout, path storepath.Path, link string) (string, error) {
	if err := checkPermRoot(l, link); err != nil {
		return "", err
	}
	link = filepath.Clean(link)
	if err := replaceSymlink(string(path), link); err != nil {
		return "", err
	}
	return link, addIndirectRoot(l, link)
}

// replaceSymlink makes a symlink with that target in one step, whatever was there before.
func replaceSymlink(target, link string) error {
	if err := modes.MkdirAll(filepath.Dir(link)); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.tmp-%d-%d", link, os.Getpid(), rand.Uint32())
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, link); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// isBelow reports whether name, which is absolute, is below dir.
func isBelow(dir, name string) bool {
	return len(name) > len(dir)+1 && name[:len(dir)] == dir && name[len(dir)] == '/'
}
