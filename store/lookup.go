package store

import (
	"context"
	"errors"
	"iter"
	"slices"

	"pix/storepath"
)

// lookUpChunk is the number of paths that [LookUp] queries at a time. Their infos take a few
// megabytes.
const lookUpChunk = 4096

// LookUp returns an iterator over the path infos of paths, in their order. The info of a path
// that is not valid is nil. Unlike [PathInfos], LookUp holds the infos of a few thousand paths
// only, however many there are, and the limits of [Closure] apply to these.
//
// An error is the last pair. The loop may use the same store.
func LookUp(ctx context.Context, s Store, paths []storepath.Path) iter.Seq2[*PathInfo, error] {
	return func(yield func(*PathInfo, error) bool) {
		for some := range slices.Chunk(paths, lookUpChunk) {
			infos, err := lookUp(ctx, s, some)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// lookUp returns the infos of paths in their order, nil for a path that is not valid.
func lookUp(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	infos, err := PathInfos(ctx, s, paths)
	// A collector may delete a path between the two queries, so the second one may fail, too.
	const most = 16
	for again := 0; errors.Is(err, ErrNotFound) && again < most; again++ {
		var valid []storepath.Path
		if valid, err = s.QueryValidPaths(ctx, slices.Compact(slices.Sorted(slices.Values(paths))), false); err != nil {
			return nil, err
		}
		var found []*PathInfo
		if found, err = PathInfos(ctx, s, valid); err != nil {
			continue
		}
		infos = make([]*PathInfo, len(paths))
		for i, p := range paths {
			if at, ok := slices.BinarySearch(valid, p); ok {
				infos[i] = found[at]
			}
		}
	}
	return infos, err
}

// ListValidPaths returns an iterator over the valid paths of s, sorted; see [PathsLister]. A
// store without that capability returns all of them at once. An error is the last pair.
func ListValidPaths(ctx context.Context, s Store) iter.Seq2[storepath.Path, error] {
	all, ok := As[AllPathsQuerier](s)
	// A wrapper may replace QueryAllValidPaths only, so ask no other store for the iterator.
	if lister, lists := all.(PathsLister); ok && lists {
		return lister.ListValidPaths(ctx)
	}
	return func(yield func(storepath.Path, error) bool) {
		paths, err := AllValidPaths(ctx, s)
		if err != nil {
			yield("", err)
			return
		}
		for _, p := range paths {
			if !yield(p, nil) {
				return
			}
		}
	}
}
