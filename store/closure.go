package store

import (
	"context"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"pix/storepath"
)

// closureQueries is how many path infos are asked for at once. A connection to a daemon
// sends them one behind the other and so waits once, not for each.
const closureQueries = 256

// Closure returns an iterator over what s knows of the roots, of all paths that they refer
// to, and so on: each path once, the roots first, then what they refer to, and so on
// outwards. Paths at the same distance are sorted, so the order is always the same. It
// takes as many round trips as there are distances, however many paths there are.
//
// An error is the last pair: a [*NotFoundError] if a path is not valid, or whatever the
// store says. The loop may ask the same store.
func Closure(ctx context.Context, s Store, roots ...storepath.Path) iter.Seq2[*PathInfo, error] {
	if q, ok := As[ClosureQuerier](s); ok {
		return q.QueryClosure(ctx, roots...)
	}
	return func(yield func(*PathInfo, error) bool) {
		seen := make(map[storepath.Path]bool, len(roots))
		next := unseen(nil, roots, seen)
		for len(next) > 0 {
			infos, err := PathInfos(ctx, s, next)
			if err != nil {
				yield(nil, err)
				return
			}
			next = nil
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
				next = unseen(next, info.References, seen)
			}
			slices.Sort(next)
		}
	}
}

// unseen appends those of the paths to next that were not seen yet.
func unseen(next, paths []storepath.Path, seen map[storepath.Path]bool) []storepath.Path {
	for _, p := range paths {
		if !seen[p] {
			seen[p] = true
			next = append(next, p)
		}
	}
	return next
}

// PathInfos returns what s knows of paths, in their order, in about one round trip: see
// [InfosQuerier]. The error is a [*NotFoundError] if one is not valid.
func PathInfos(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	if q, ok := As[InfosQuerier](s); ok {
		infos := make([]*PathInfo, 0, len(paths))
		for info, err := range q.QueryPathInfos(ctx, paths) {
			if err != nil {
				return nil, err
			}
			infos = append(infos, info)
		}
		return infos, nil
	}
	infos := make([]*PathInfo, len(paths))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(closureQueries)
	for i, p := range paths {
		group.Go(func() error {
			info, err := s.QueryPathInfo(ctx, p)
			infos[i] = info
			return err
		})
	}
	return infos, group.Wait()
}
