package store

import (
	"context"
	"errors"
	"iter"
	"slices"

	"pix/storepath"
)

// LookUp returns an iterator over the path infos of paths, in their order. The info of a path
// that is not valid is nil. Unlike [PathInfos], LookUp holds the infos of a few thousand paths
// only, however many there are, and the limits of [Closure] apply to these.
//
// An error is the last pair. The loop may use the same store.
func LookUp(ctx context.Context, s Store, paths []storepath.Path) iter.Seq2[*PathInfo, error] {
	return func(yield func(*PathInfo, error) bool) {
		for some := range slices.Chunk(paths, closureChunk) {
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
