package cacheserver

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"pix/store"
	"pix/storepath"
)

// An additionSource is the source of one addition: the part of the closure of a path that a store lacks, in the upstream stores. A
// path that the store has is a path without references here, so the copy does not query its closure.
type additionSource struct {
	wantedPath
	target    store.Store
	upstreams []*Upstream

	mu    sync.Mutex
	found map[storepath.Path]foundAddition // paths that the store lacks
}

// A foundAddition is a path to add, and the store that has it.
type foundAddition struct {
	from *Upstream
	info *store.PathInfo
}

var _ store.NARReader = (*additionSource)(nil)

// Dir implements [store.Store].
func (s *additionSource) Dir() storepath.Dir { return s.target.Dir() }

// Close does nothing: the stores belong to the handler.
func (s *additionSource) Close() error { return nil }

// IsValidPath implements [store.Store].
func (s *additionSource) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	_, err := s.QueryPathInfo(ctx, path)
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// QueryValidPaths implements [store.Store].
func (s *additionSource) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	var valid []storepath.Path
	for _, path := range paths {
		ok, err := s.IsValidPath(ctx, path)
		if err != nil {
			return nil, err
		}
		if ok {
			valid = append(valid, path)
		}
	}
	slices.Sort(valid)
	return slices.Compact(valid), nil
}

// QueryPathInfo returns the info of a path. If the target has the path, the info has nothing else.
func (s *additionSource) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	// The path becomes a temporary root first, because a collector may delete it after the query.
	if err := store.AddTempRoots(ctx, s.target, []storepath.Path{path}); err != nil {
		return nil, err
	}
	valid, err := store.CompletePaths(ctx, s.target, []storepath.Path{path})
	if err != nil {
		return nil, err
	}
	if len(valid) > 0 {
		return &store.PathInfo{Path: path}, nil
	}
	found, err := s.find(ctx, path)
	if err != nil {
		return nil, err
	}
	if found.info.NARSize > found.from.largestKept() {
		return nil, fmt.Errorf("the archive of '%s' is too large for the directory of fetched archives", path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[path] = found
	return found.info, nil
}

// find finds a path in the upstream stores.
func (s *additionSource) find(ctx context.Context, path storepath.Path) (foundAddition, error) {
	if path == s.path {
		info, err := s.from.QueryPathInfo(ctx, path)
		if err == nil && info.NARHash != s.archive {
			err = fmt.Errorf("the upstream cache has changed '%s'", path)
		}
		return foundAddition{s.from, info}, err
	}
	for _, u := range s.upstreams {
		info, err := u.QueryPathInfo(ctx, path)
		if err == nil || !isAbsent(err) {
			return foundAddition{u, info}, err
		}
	}
	return foundAddition{}, &store.NotFoundError{Path: path}
}

// NARFromPath returns the archive of a path that the store lacks.
func (s *additionSource) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.mu.Lock()
	found, ok := s.found[path]
	s.mu.Unlock()
	if !ok {
		return nil, &store.NotFoundError{Path: path}
	}
	return found.from.openVerified(ctx, found.info)
}
