package store

import (
	"context"
	"iter"

	"pix/storepath"
)

// Closure returns an iterator over what s knows of the roots, of all paths that they refer
// to, and so on: each path once, first the roots in their order, then what they refer to, and so on
// outwards. Paths at the same distance are sorted, so the order is always the same. It
// takes as many round trips as there are distances, however many paths there are.
//
// An error is the last pair: a [*NotFoundError] if a path is not valid, a [*LimitError] if the
// closure is larger than the [Limits] of s allow, or an error of the store. The loop may ask the same
// store. If the store panics on another goroutine, the iterator does so on the caller's, with a
// [*PanicError].
func Closure(ctx context.Context, s Store, roots ...storepath.Path) iter.Seq2[*PathInfo, error] {
	return func(yield func(*PathInfo, error) bool) {
		w := newWalk(s)
		ask, end := w.open(ctx, s)
		defer end()
		for paths := w.Start(roots...); len(paths) > 0; paths = w.Next() {
			infos, err := ask(ctx, paths)
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

// PathInfos returns what s knows of paths, in their order, in about one round trip: see
// [InfosQuerier]. The error is a [*NotFoundError] if one is not valid, or a [*LimitError] as for
// [Closure].
func PathInfos(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	w := newWalk(s)
	w.Start(paths...)
	ask, end := w.open(ctx, s)
	defer end()
	return ask(ctx, paths)
}
