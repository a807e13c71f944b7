package localstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"pix/localstore/internal/objects"
	"pix/store"
)

// A rootSearch finds the permanent roots and the runtime roots.
//
// A root that cannot be read may keep any path, so a collector must not delete anything: it searches with strict, and the
// search returns an error with the name of the root. A list of roots logs the error and continues.
type rootSearch struct {
	layout layout
	tidy   bool // remove symlinks in gcroots/auto whose targets do not exist
	strict bool
}

// roots returns the roots, valid or not.
func (s *rootSearch) roots(ctx context.Context) ([]store.Root, error) {
	permanent, err := s.permanent(ctx)
	if err != nil {
		return nil, err
	}
	runtime, err := s.runtime(ctx)
	return slices.Concat(permanent, runtime), err
}

// unreadable handles an error that hides which paths a file keeps. It returns an error if the search is strict, and
// otherwise logs the error and returns nil.
func (s *rootSearch) unreadable(ctx context.Context, name string, err error) error {
	if s.strict {
		return fmt.Errorf("cannot determine which paths '%s' keeps, so nothing is deleted: %w", name, err)
	}
	logf(ctx, "cannot read potential root '%s': %v", name, err)
	return nil
}

// permanent returns the roots below gcroots and profiles, valid or not.
//
// A root is a symlink into the store, a symlink that another symlink points to (an indirect root), or a regular file with
// the name of a store path.
//
// A file that does not exist keeps no path: a file that was removed after its directory was read, or the missing target
// of a symlink. The same holds for a symlink that no process can follow, because it points to itself or below a file, or
// its target is too long. Every user can register such a symlink, and it must not prevent collections. A strict search
// returns every other error, such as missing permission to read a directory, a network file system that does not answer,
// or a failing disk.
func (s *rootSearch) permanent(ctx context.Context) ([]store.Root, error) {
	f := permanentRoots{rootSearch: s}
	for _, dir := range []string{s.layout.gcRoots(), s.layout.profiles()} {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// A symlink to a missing directory is an error: the directory may be on a disk that is not mounted.
		if _, err := os.Stat(dir); err != nil {
			if err := s.unreadable(ctx, dir, err); err != nil {
				return nil, err
			}
			continue
		}
		if err := f.dir(ctx, dir); err != nil {
			return nil, err
		}
	}
	return f.found, nil
}

// permanentRoots are the roots that one search has found.
type permanentRoots struct {
	*rootSearch
	found []store.Root
}

func (f *permanentRoots) dir(ctx context.Context, dir string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := f.unreadable(ctx, dir, err); err != nil {
			return err
		}
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch entry.Type() {
		case fs.ModeDir:
			if err := f.dir(ctx, name); err != nil {
				return err
			}
		case fs.ModeSymlink:
			if err := f.symlink(ctx, name); err != nil {
				return err
			}
		case 0:
			if path, err := f.layout.dir.ParseBase(entry.Name()); err == nil {
				f.found = append(f.found, store.Root{Link: name, Path: path})
			}
		}
	}
	return nil
}

func (f *permanentRoots) symlink(ctx context.Context, name string) error {
	target, err := os.Readlink(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // for example the temporary name of a symlink that has its final name now
	}
	if err != nil {
		return f.unreadable(ctx, name, err)
	}
	if isBelow(string(f.layout.dir), target) {
		f.add(name, target)
		return nil
	}
	absolute := target
	if !filepath.IsAbs(target) {
		absolute = filepath.Join(filepath.Dir(name), target)
	}
	exists, err := f.indirect(absolute)
	if err == nil && !exists && f.tidy && isBelow(f.layout.autoRoots(), name) {
		err = f.removeStale(ctx, name, target, absolute)
	}
	if err != nil {
		return f.unreadable(ctx, name, err)
	}
	return nil
}

// indirect reports whether the target of a symlink exists. It adds a root if the target is a symlink into the store.
func (f *permanentRoots) indirect(target string) (exists bool, err error) {
	st, err := os.Lstat(target)
	if isDangling(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.Mode().Type() != fs.ModeSymlink {
		return true, nil
	}
	path, err := os.Readlink(target)
	switch {
	case isDangling(err):
		return false, nil
	case errors.Is(err, syscall.EINVAL): // it was replaced and is not a symlink now
		return true, nil
	case err != nil:
		return false, err
	}
	if isBelow(string(f.layout.dir), path) {
		f.add(target, path)
	}
	return true, nil
}

// removeStale removes a symlink in gcroots/auto whose target does not exist.
//
// Another process may add the same root at this moment: it creates the target and then replaces the symlink, which
// removeStale could remove. So removeStale checks the target again, and creates the symlink again if the target exists.
func (f *permanentRoots) removeStale(ctx context.Context, name, target, absolute string) error {
	logf(ctx, "removing stale link from '%s' to '%s'", name, absolute)
	if err := os.Remove(name); err != nil {
		return objects.IgnoreNotExist(err)
	}
	exists, err := f.indirect(absolute)
	if exists && err == nil {
		err = replaceSymlink(target, name)
	}
	return err
}

// add adds a root that links into the store.
func (f *permanentRoots) add(link, target string) {
	if path, _, err := f.layout.dir.ParseInside(target); err == nil {
		f.found = append(f.found, store.Root{Link: link, Path: path})
	}
}

// isDangling reports whether err means that a symlink leads to no file.
func isDangling(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ELOOP)
}
