package localstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"pix/store"
)

// findPermRoots returns the roots below gcroots and profiles, valid or not.
//
// There, a symlink into the store is a root. A symlink to a symlink into the store is one too,
// named after the second (an indirect root), and so is a regular file that has the name of a
// store path. With tidy, links in gcroots/auto whose target is gone are removed.
func findPermRoots(ctx context.Context, l layout, tidy bool) ([]store.Root, error) {
	finder := permRootFinder{ctx: ctx, layout: l, tidy: tidy}
	for _, dir := range []string{l.gcRoots(), l.profiles()} {
		if err := finder.dir(dir); err != nil {
			return nil, err
		}
	}
	return finder.roots, nil
}

type permRootFinder struct {
	ctx    context.Context
	layout layout
	tidy   bool
	roots  []store.Root
}

func (f *permRootFinder) dir(dir string) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f.unreadable(dir, err)
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch entry.Type() {
		case fs.ModeDir:
			if err := f.dir(name); err != nil {
				return err
			}
		case fs.ModeSymlink:
			// One that went away meanwhile, as the temporary names of links do, must not hide the others.
			if err := f.unreadable(name, f.symlink(name)); err != nil {
				return err
			}
		case 0:
			if path, err := f.layout.dir.ParseBase(entry.Name()); err == nil {
				f.roots = append(f.roots, store.Root{Link: name, Path: path})
			}
		}
	}
	return nil
}

func (f *permRootFinder) symlink(name string) error {
	target, err := os.Readlink(name)
	if err != nil {
		return err
	}
	if isBelow(string(f.layout.dir), target) {
		f.found(name, target)
		return nil
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(name), target)
	}
	st, err := os.Lstat(target)
	switch {
	case leadsNowhere(err):
		if f.tidy && isBelow(f.layout.autoRoots(), name) {
			say(f.ctx, "removing stale link from '%s' to '%s'", name, target)
			return ignoreMissing(os.Remove(name))
		}
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSymlink:
		return nil
	}
	into, err := os.Readlink(target)
	if err != nil {
		return err
	}
	if isBelow(string(f.layout.dir), into) {
		f.found(target, into)
	}
	return nil
}

// found notes a link into the store.
func (f *permRootFinder) found(link, target string) {
	if path, _, err := f.layout.dir.ParseInside(target); err == nil {
		f.roots = append(f.roots, store.Root{Link: link, Path: path})
	}
}

// leadsNowhere reports whether an error says that nothing has a name. Everybody may have a link made to a
// name that is too long, or to one that is below a symlink to itself: that must not end a collection.
func leadsNowhere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ELOOP)
}

// unreadable returns nil for no error, and for the errors that will not go away by themselves: what we must not
// read, or what is gone, is no root.
func (f *permRootFinder) unreadable(name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) || leadsNowhere(err) {
		say(f.ctx, "cannot read potential root '%s'", name)
		return nil
	}
	return err
}
