package store

import (
	"context"
	"errors"
	"iter"
	"slices"

	"pix/storepath"
)

// AllPathInfos returns the infos of all valid paths of s, in any order; see [AllInfosQuerier]. For other stores it
// lists the paths and queries many of them at a time. Paths that are added or deleted meanwhile may be missing. An
// error is the last pair.
func AllPathInfos(ctx context.Context, s Store) iter.Seq2[*PathInfo, error] {
	if q, ok := As[AllInfosQuerier](s); ok {
		return q.QueryAllPathInfos(ctx)
	}
	const atOnce = 1024 // paths, so that their infos need little memory
	return func(yield func(*PathInfo, error) bool) {
		paths, err := AllValidPaths(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		for some := range slices.Chunk(paths, atOnce) {
			infos, err := remainingInfos(ctx, s, some)
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

// remainingInfos returns the infos of the paths that are still valid.
func remainingInfos(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	infos, err := PathInfos(ctx, s, paths)
	if !errors.Is(err, ErrNotFound) {
		return infos, err
	}
	for _, path := range paths {
		info, err := s.QueryPathInfo(ctx, path)
		switch {
		case err == nil:
			infos = append(infos, info)
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return infos, nil
}
