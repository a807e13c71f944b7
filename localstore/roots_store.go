package localstore

import (
	"context"
	"errors"
	"slices"

	"pix/localstore/internal/temproots"
	"pix/store"
	"pix/storepath"
)

var _ store.Rooter = (*Store)(nil)

// AddIndirectRoot makes the symlink at link, an absolute name, a root for as long as it is there
// and points into the store. See [Store.FindRoots].
func (s *Store) AddIndirectRoot(_ context.Context, link string) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	return addIndirectRoot(s.layout, link)
}

// AddPermRoot makes a symlink at link, an absolute name, to a path, and that a root. It returns
// the name without ".." and the like. What is there already is replaced if it is a symlink into
// the store; if it is anything else, the error is fs.ErrExist.
func (s *Store) AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error) {
	if s.opts.ReadOnly {
		return "", ErrReadOnly
	}
	for {
		roots, err := s.addTempRoots(ctx, path)
		if err != nil {
			return "", err
		}
		made, err := addPermRoot(s.layout, path, link)
		if err != nil {
			return made, err
		}
		// A collector that began before the link was made knows the temporary root, or else the file of
		// those was deleted, and the collector has to be asked again.
		if err = roots.Check(); !errors.Is(err, temproots.ErrLost) {
			return made, err
		}
	}
}

// FindRoots returns what keeps paths from being collected, sorted by path and link:
//
//   - symlinks below gcroots and profiles, in the state directory; a file there that has the
//     name of a store path; and symlinks that those in gcroots/auto point to;
//   - what running processes use, as far as this one may see that; the link is the file in
//     /proc that says so, or "{lsof}";
//   - temporary roots, which are "{temp:PID}", and which need not be valid.
//
// A link in gcroots/auto that leads nowhere is deleted.
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
	temporary, err := temproots.Find(ctx, s.rootsState(), !s.opts.ReadOnly, reporter(ctx))
	if err != nil {
		return nil, err
	}
	roots = append(roots, slices.DeleteFunc(temporary, func(r store.Root) bool { return isTempName(r.Path) })...)
	store.SortRoots(roots)
	return slices.Compact(roots), nil
}

// validRoots returns the roots whose paths are valid. It reports invalid permanent roots, and ignores
// invalid runtime roots: processes also name paths of other stores, and paths that are gone.
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
			say(ctx, "skipping invalid root from '%s' to '%s'", r.Link, r.Path)
		}
	}
	return kept, nil
}
