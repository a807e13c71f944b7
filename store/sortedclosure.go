package store

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"

	"pix/storepath"
)

// ClosurePaths returns the paths of the closure of the roots, sorted. It is [Closure] without the
// infos, and has the same errors.
func ClosurePaths(ctx context.Context, s Store, roots ...storepath.Path) ([]storepath.Path, error) {
	paths, _, err := sortedClosure(ctx, s, roots, 0)
	return paths, err
}

// SortedClosure returns the paths of the closure of the roots, sorted, and an iterator over their
// infos in this order; see [SortedClosureQuerier]. It has the errors of [Closure]. The iterator may
// use the paths, so the caller must not change them.
//
// In other stores, it holds the paths and at most 16,384 infos. The iterator queries the infos of
// a larger closure again when they are needed, as [LookUp] does, and the info of a path that has
// been deleted meanwhile is nil.
func SortedClosure(ctx context.Context, s Store, roots ...storepath.Path) ([]storepath.Path, iter.Seq2[*PathInfo, error], error) {
	return sortedClosure(ctx, s, roots, closureChunk)
}

// sortedClosure is [SortedClosure], and holds at most maxHeld infos.
func sortedClosure(ctx context.Context, s Store, roots []storepath.Path, maxHeld int) ([]storepath.Path, iter.Seq2[*PathInfo, error], error) {
	if paths, infos, ok, err := querySortedClosure(ctx, s, roots); ok {
		return paths, infos, err
	}
	w := newWalk(s)
	held := make([]*PathInfo, 0, min(maxHeld, len(roots)))
	err := w.each(ctx, s, roots, func(info *PathInfo) bool {
		if w.found.len() <= maxHeld {
			held = append(held, info)
		}
		return true
	})
	if err != nil {
		return nil, nil, err
	}
	paths := w.found.sortedPaths()
	if len(paths) > maxHeld {
		return paths, LookUp(ctx, s, paths), nil
	}
	slices.SortFunc(held, func(a, b *PathInfo) int { return cmp.Compare(a.Path, b.Path) })
	return paths, func(yield func(*PathInfo, error) bool) {
		for _, info := range held {
			if !yield(info, nil) {
				return
			}
		}
	}, nil
}

// querySortedClosure uses s as a [SortedClosureQuerier]. ok is false if s is none, or if only a walk can check the limits.
func querySortedClosure(ctx context.Context, s Store, roots []storepath.Path) (paths []storepath.Path, infos iter.Seq2[*PathInfo, error], ok bool, err error) {
	limits := LimitsOf(s)
	q, ok := As[SortedClosureQuerier](s)
	if !ok || limits.Bytes > 0 || ClosureBudgetOf(ctx) != nil {
		return nil, nil, false, nil
	}
	paths, infos, err = q.QuerySortedClosure(ctx, roots, limits)
	if _, exceeded := errors.AsType[*LimitError](err); exceeded {
		return nil, nil, false, nil // the walk reports the path whose references exceed the limit
	}
	return paths, infos, true, err
}
