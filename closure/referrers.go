package closure

import (
	"context"
	"math"
	"slices"

	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// LoadReferrers returns the paths, and all paths of s that refer to one of them, directly or through at most depth
// references; 0 is any number. It leaves out the references to other paths, so the result is a part of a closure, for
// [Closure.WriteTree] in reverse and with the same depth. The store must be a [store.ReferrerQuerier].
//
// LoadReferrers queries the referrers of each path. If it finds a large part of a [store.AllInfosQuerier], such as a store in a
// directory, it reads the infos of all paths instead, unless there is a depth.
//
// The error is a [*store.NotFoundError] if a path is not valid, or a [*store.LimitError] if there are more referrers
// than the limits of s allow.
func LoadReferrers(ctx context.Context, s store.Store, depth int, paths ...storepath.Path) (*Closure, error) {
	return loadReferrers(ctx, s, depth, paths, 1<<12) // to count the paths of a large store takes as long as to find these
}

// loadReferrers is LoadReferrers, and queries the referrers of at least a number of paths.
func loadReferrers(ctx context.Context, s store.Store, depth int, paths []storepath.Path, atLeast int) (*Closure, error) {
	walk := func(most int) (*Closure, error) { return walkReferrers(ctx, s, depth, paths, most) }
	if depth > 0 {
		return walk(math.MaxInt)
	}
	of := func(whole *Closure) (*Closure, error) { return whole.referrersOf(paths) }
	return loadFast(ctx, s, atLeast, 16, walk, of)
}

// referrersOf returns the paths, and the paths that refer to one of them, directly or not. The error is errWalk if a path is
// not in c.
func (c *Closure) referrersOf(paths []storepath.Path) (*Closure, error) {
	referrers, first := c.referrers()
	return c.reached(referrers, first, paths)
}

// walkReferrers queries the referrers of each path. The error is errLarge for more than most paths.
func walkReferrers(ctx context.Context, s store.Store, depth int, paths []storepath.Path, most int) (*Closure, error) {
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
		if len(all) > most {
			return nil, errLarge
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
