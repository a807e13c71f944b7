package closure

import (
	"context"
	"slices"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// LoadReferrers returns the paths, and all paths of s that refer to one of them, directly or through at most depth
// references; 0 is any number. It leaves out the references to other paths, so the result is a part of a closure, for
// [Closure.WriteTree] in reverse and with the same depth. The store must be a [store.ReferrerQuerier].
//
// The error is a [*store.NotFoundError] if a path is not valid, or a [*store.LimitError] if there are more referrers
// than the limits of s allow.
func LoadReferrers(ctx context.Context, s store.Store, depth int, paths ...storepath.Path) (*Closure, error) {
	limits := store.LimitsOf(s)
	seen := make(map[storepath.Path]bool)
	var all []storepath.Path
	for level, n := paths, 0; len(level) > 0; n++ {
		var next []storepath.Path
		for _, path := range level {
			if !seen[path] {
				seen[path] = true
				next = append(next, path)
			}
		}
		all = append(all, next...)
		if err := limits.Exceeded(len(all), 0, 0); err != nil {
			err.Root, err.Path, err.Source = paths[0], next[0], "the store"
			return nil, err
		}
		if depth > 0 && n == depth {
			break
		}
		var err error
		if level, err = queryReferrers(ctx, s, next); err != nil {
			return nil, err
		}
	}
	infos, err := store.PathInfos(ctx, s, all)
	if err != nil {
		return nil, err
	}
	b := newBuilder(0)
	for _, info := range infos {
		part := *info
		part.References = slices.DeleteFunc(slices.Clone(info.References), func(ref storepath.Path) bool { return !seen[ref] })
		b.add(&part)
	}
	return b.closure(ctx)
}

// queryReferrers returns the referrers of paths, many at a time.
func queryReferrers(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
	const atOnce = 256 // a connection to a daemon sends that many queries before the first answer
	found := make([][]storepath.Path, len(paths))
	group, ctx := parallel.WithContext(ctx, atOnce)
	for i, path := range paths {
		group.Go(func() (err error) {
			found[i], err = store.Referrers(ctx, s, path)
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(found...), err
}
