package store

import (
	"context"
	"iter"
)

// AllPathInfos returns the infos of all valid paths of s, in any order; see [AllInfosQuerier]. For other stores it
// lists the paths and queries many of them at a time. Paths that are added or deleted meanwhile may be missing. An
// error is the last pair.
func AllPathInfos(ctx context.Context, s Store) iter.Seq2[*PathInfo, error] {
	if q, ok := As[AllInfosQuerier](s); ok {
		return q.QueryAllPathInfos(ctx)
	}
	return func(yield func(*PathInfo, error) bool) {
		paths, err := AllValidPaths(ctx, s)
		if err != nil {
			yield(nil, err)
			return
		}
		for info, err := range LookUp(ctx, s, paths) {
			if err != nil {
				yield(nil, err)
				return
			}
			if info != nil && !yield(info, nil) {
				return
			}
		}
	}
}
