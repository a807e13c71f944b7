package localstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"pix/internal/modes"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

var _ store.Rooter = (*Store)(nil)

// AddIndirectRoot makes the symlink with the absolute name link a root, as long as it exists and points into the store.
// See [Store.FindRoots].
func (s *Store) AddIndirectRoot(_ context.Context, link string) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	return addIndirectRoot(s.layout, link)
}

// AddPermRoot creates a symlink with the absolute name link to a path, and makes the symlink a root. It returns the
// cleaned name. It replaces an existing symlink into the store, and returns [fs.ErrExist] for any other existing file.
func (s *Store) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	if s.opts.ReadOnly {
		return "", ErrReadOnly
	}
	for {
		roots, err := s.addTempRoots(ctx, path)
		if err != nil {
			return "", err
		}
		name, err := addPermRoot(s.layout, path, link)
		if err != nil {
			return name, err
		}
		// A collector that started before the symlink was created knows the temporary root, unless the file of
		// temporary roots was deleted. In that case add the temporary root again.
		if err = roots.Check(); !errors.Is(err, temproots.ErrLost) {
			return name, err
		}
	}
}

// FindRoots returns the roots of the garbage collector, sorted by path and link:
//
//   - symlinks below the directories gcroots and profiles, files there with the name of a store path, and the symlinks
//     to which symlinks in gcroots/auto point;
//   - paths that running processes use, if this process may read that; their link is a file in /proc or "{lsof}";
//   - temporary roots with the link "{temp:PID}", whose paths may be invalid.
//
// FindRoots deletes symlinks in gcroots/auto whose targets do not exist.
func (s *Store) FindRoots(ctx context.Context) ([]store.Root, error) {
	search := &rootSearch{layout: s.layout, tidy: !s.opts.ReadOnly}
	permanent, err := search.permanent(ctx)
	if err != nil {
		return nil, err
	}
	running, err := search.runtime(ctx)
	if err != nil {
		return nil, err
	}
	roots, err := s.validRoots(ctx, permanent, running)
	if err != nil {
		return nil, err
	}
	temporary, err := temproots.Find(ctx, s.rootsState(), !s.opts.ReadOnly, logLine(ctx))
	if err != nil {
		return nil, err
	}
	roots = append(roots, slices.DeleteFunc(temporary, func(r store.Root) bool { return isTempName(r.Path) })...)
	store.SortRoots(roots)
	return slices.Compact(roots), nil
}

// validRoots returns the roots whose paths are valid. It logs invalid permanent roots, but not invalid runtime roots,
// because processes also use paths of other stores, and paths that were deleted.
func (s *Store) validRoots(ctx context.Context, permanent, running []store.Root) ([]store.Root, error) {
	roots := slices.Concat(permanent, running)
	paths := make([]storepath.Path, len(roots))
	for i, r := range roots {
		paths[i] = r.Path
	}
	valid, err := s.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return nil, err
	}
	var kept []store.Root
	for i, r := range roots {
		if _, is := slices.BinarySearch(valid, r.Path); is {
			kept = append(kept, r)
		} else if i < len(permanent) {
			logf(ctx, "skipping invalid root from '%s' to '%s'", r.Link, r.Path)
		}
	}
	return kept, nil
}

// autoRoots returns the directory of the symlinks to indirect roots, which are symlinks into the store anywhere in the
// file system.
func (l layout) autoRoots() string { return filepath.Join(l.gcRoots(), "auto") }

// addIndirectRoot makes the symlink with the name link a root, as long as it points into the store. The symlink need not
// exist yet.
func addIndirectRoot(l layout, link string) error {
	if !filepath.IsAbs(link) {
		return fmt.Errorf("cannot make %q a root: its name is not absolute", link)
	}
	name := nixhash.Sum(nixhash.SHA1, []byte(link)).Nix32()
	return replaceSymlink(link, filepath.Join(l.autoRoots(), name))
}

// checkPermRoot returns an error if link must not become a root.
func checkPermRoot(l layout, link string) error {
	if !filepath.IsAbs(link) {
		return fmt.Errorf("cannot make %q a root: its name is not absolute", link)
	}
	if isBelow(string(l.dir), link) {
		return fmt.Errorf("cannot make %q a root: creating a garbage collector root in the store is forbidden", link)
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
	return fmt.Errorf("cannot make %q a root: it exists and is not a symlink into the store: %w", link, fs.ErrExist)
}

// addPermRoot creates a symlink to a path and makes it an indirect root. The path must be a temporary root, so that a
// running collector keeps it.
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

// replaceSymlink creates a symlink, or replaces an existing file by it, in one step.
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

// isBelow reports whether the absolute name is below dir.
func isBelow(dir, name string) bool {
	return len(name) > len(dir)+1 && name[:len(dir)] == dir && name[len(dir)] == '/'
}

// AddTempRoot keeps a path from being collected until the store or this session is closed, or the process ends. The path
// need not be valid. When AddTempRoot returns, a running collector has either deleted the path or will keep it.
//
// AddTempRoot waits while a collector deletes this path, and until a collector of Nix 2.3 or 2.4 has ended. On a
// read-only store it does nothing.
func (s *Store) AddTempRoot(ctx context.Context, path storepath.Path) error {
	_, err := s.addTempRoots(ctx, path)
	return err
}

// AddTempRoots is [Store.AddTempRoot] for many paths. It takes hardly longer than for one path.
func (s *Store) AddTempRoots(ctx context.Context, paths []storepath.Path) error {
	_, err := s.addTempRoots(ctx, paths...)
	return err
}

// addTempRoots makes paths temporary roots. An operation that relies on the roots until it ends calls Check of the result
// before it returns success.
func (s *Store) addTempRoots(ctx context.Context, paths ...storepath.Path) (temproots.Held, error) {
	if s.temp == nil {
		return temproots.Held{}, nil
	}
	for _, p := range paths {
		if _, err := s.dir.Parse(string(p)); err != nil {
			return temproots.Held{}, err
		}
	}
	// If the store was deleted, the roots must be in the store that replaces it.
	if _, err := s.database(ctx, false); err != nil {
		return temproots.Held{}, err
	}
	return s.temp.Add(ctx, paths...)
}
