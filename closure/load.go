package closure

import (
	"context"
	"errors"
	"math"
	"slices"

	"pix/store"
	"pix/storepath"
)

// Load returns the closure of the roots in s. As for [store.Closure], the error is a
// [*store.NotFoundError] if a path is not valid, or a [*store.LimitError] if the closure is larger than the
// limits of s.
//
// Load follows references from the roots. If it finds a large part of a [store.AllInfosQuerier], such as a store in
// a directory, it reads the infos of all paths instead.
func Load(ctx context.Context, s store.Store, roots ...storepath.Path) (*Closure, error) {
	return load(ctx, s, roots, 1<<15) // to count the paths of a large store takes as long as to find these
}

// load is Load, and follows references to at least a number of paths.
func load(ctx context.Context, s store.Store, roots []storepath.Path, atLeast int) (*Closure, error) {
	walk := func(most int) (*Closure, error) { return walk(ctx, s, roots, most) }
	of := func(whole *Closure) (*Closure, error) { return whole.closureOf(roots) }
	return loadFast(ctx, s, atLeast, 8, walk, of)
}

// LoadAll returns the closure of all valid paths of s, which must be a [store.AllPathsQuerier] or a
// [store.AllInfosQuerier].
func LoadAll(ctx context.Context, s store.Store) (*Closure, error) {
	if all, ok := allInfos(ctx, s); ok {
		c, err := loadEverything(ctx, s, all, 0)
		if !errors.Is(err, errWalk) {
			return c, err
		}
	}
	paths, err := store.AllValidPaths(ctx, s)
	if err != nil {
		return nil, err
	}
	return walk(ctx, s, paths, math.MaxInt)
}

// errWalk says that the infos must be found by following references.
var errWalk = errors.New("the closure cannot be read at once")

// allInfos returns the capability of s to read all infos, unless it must account for their memory.
func allInfos(ctx context.Context, s store.Store) (store.AllInfosQuerier, bool) {
	all, ok := store.As[store.AllInfosQuerier](s)
	return all, ok && store.LimitsOf(s).Bytes == 0 && store.ClosureBudgetOf(ctx) == nil
}

// errLarge ends a walk that has found too many paths.
var errLarge = errors.New("the closure is large")

// walk follows references from the roots. The error is errLarge for more than most paths.
func walk(ctx context.Context, s store.Store, roots []storepath.Path, most int) (*Closure, error) {
	b := newBuilder(0)
	for info, err := range store.Closure(ctx, s, roots...) {
		if err != nil {
			return nil, err
		}
		if b.add(info); len(b.all) > most {
			return nil, errLarge
		}
	}
	return b.closure(ctx)
}

// loadFast finds a part of the store. It walks while that is faster than reading the infos of the whole store: until the part has
// more than atLeast paths and more than n/share of the n paths of the store. walk returns errLarge for more than most paths. of
// returns the part of the closure of all paths, or errWalk.
func loadFast(ctx context.Context, s store.Store, atLeast, share int, walk func(most int) (*Closure, error), of func(whole *Closure) (*Closure, error)) (*Closure, error) {
	all, ok := allInfos(ctx, s)
	if !ok {
		return walk(math.MaxInt)
	}
	c, err := walk(atLeast)
	if err != errLarge {
		return c, err
	}
	n, err := all.CountValidPaths(ctx)
	if err != nil {
		return nil, err
	}
	if n/share > atLeast {
		if c, err = walk(n / share); err != errLarge {
			return c, err
		}
	}
	if c, err = loadEverything(ctx, s, all, n); err == nil {
		c, err = of(c)
	}
	if errors.Is(err, errWalk) {
		return walk(math.MaxInt)
	}
	return c, err
}

// loadEverything returns the closure of all valid paths. n is their approximate number, or 0 if it is unknown. The error
// is errWalk if the store changes meanwhile, or is larger than its limits, though the closure of a few roots may be
// smaller.
func loadEverything(ctx context.Context, s store.Store, all store.AllInfosQuerier, n int) (*Closure, error) {
	limits := store.LimitsOf(s)
	b := newBuilder(min(n, limits.Paths))
	for info, err := range all.QueryAllPathInfos(ctx) {
		if err != nil {
			return nil, err
		}
		if b.add(info); limits.Exceeded(len(b.all), len(b.refs), 0) != nil {
			return nil, errWalk
		}
	}
	c, err := b.closure(ctx)
	if _, missing := errors.AsType[*MissingError](err); missing {
		return nil, errWalk
	}
	return c, err
}

// closureOf returns the closure of the roots. The error is errWalk if a root is not in c.
func (c *Closure) closureOf(roots []storepath.Path) (*Closure, error) {
	return c.reached(c.refs, c.first, roots)
}

// reached returns the objects that can be reached from the roots along edges. The error is errWalk if a root is not in c.
func (c *Closure) reached(edges []int32, first []int, roots []storepath.Path) (*Closure, error) {
	for _, root := range roots {
		if _, ok := c.index[root]; !ok {
			return nil, errWalk
		}
	}
	reached := c.reachAlong(edges, first, roots)
	if !slices.Contains(reached, false) {
		return c, nil
	}
	return c.only(reached), nil
}
