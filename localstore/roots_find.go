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

// A rootSearch looks for the roots that are not temporary.
//
// If a collector cannot determine what something keeps, it may keep any path, so nothing may be
// deleted: the search is strict, and ends with an error that names the thing. A list of roots reports
// the thing and goes on.
type rootSearch struct {
	layout layout
	tidy   bool // remove links in gcroots/auto whose target is gone
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

// unsure handles an error that hides which paths a thing keeps. It returns an error if the search is
// strict; otherwise it reports the error and returns nil.
func (s *rootSearch) unsure(ctx context.Context, name string, err error) error {
	if s.strict {
		return fmt.Errorf("cannot determine which paths '%s' keeps, so nothing is deleted: %w", name, err)
	}
	say(ctx, "cannot read potential root '%s': %v", name, err)
	return nil
}

// permanent returns the roots below gcroots and profiles, valid or not.
//
// There, a symlink into the store is a root. A symlink to a symlink into the store is one, too,
// named after the second (an indirect root), and so is a regular file that has the name of a
// store path.
//
// A missing file keeps nothing: a file that was removed after its directory was read, and the missing
// target of a link. The same holds for a link that no process can follow, because it leads
// through itself, through a file, or has too long a name: any user may have such a link registered,
// and it must not end the collections of all. Every other error ends the search if it is
// strict: a directory on the way that may not be searched, a network file system that does not
// answer, a disk that cannot be read.
func (s *rootSearch) permanent(ctx context.Context) ([]store.Root, error) {
	f := permanentRoots{rootSearch: s}
	for _, dir := range []string{s.layout.gcRoots(), s.layout.profiles()} {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		// A link to a directory that is not there, say on a disk that is not mounted, is not the same
		// as no directory.
		if _, err := os.Stat(dir); err != nil {
			if err := s.unsure(ctx, dir, err); err != nil {
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
		if err := f.unsure(ctx, dir, err); err != nil {
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
		return nil // such as the temporary name of a link; those after it in the directory are roots
	}
	if err != nil {
		return f.unsure(ctx, name, err)
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
		return f.unsure(ctx, name, err)
	}
	return nil
}

// indirect reports whether the target of a link exists, and adds a root if that is a symlink into the store.
func (f *permanentRoots) indirect(target string) (exists bool, err error) {
	st, err := os.Lstat(target)
	if leadsNowhere(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if st.Mode().Type() != fs.ModeSymlink {
		return true, nil
	}
	into, err := os.Readlink(target)
	switch {
	case leadsNowhere(err):
		return false, nil
	case errors.Is(err, syscall.EINVAL): // it was replaced, and is no symlink now
		return true, nil
	case err != nil:
		return false, err
	}
	if isBelow(string(f.layout.dir), into) {
		f.add(target, into)
	}
	return true, nil
}

// removeStale removes a link in gcroots/auto whose target does not exist.
//
// A process may make the same root in this moment: first the target, and then the link, in the place of
// the one that is removed here. So the target is looked for once more, and if it exists, the link is
// made again.
func (f *permanentRoots) removeStale(ctx context.Context, name, target, absolute string) error {
	say(ctx, "removing stale link from '%s' to '%s'", name, absolute)
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

// leadsNowhere reports whether an error says that no file has a name, and that none can be reached by it.
func leadsNowhere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) ||
		errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ELOOP)
}
