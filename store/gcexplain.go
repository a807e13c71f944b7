package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"pix/internal/parallel"
	"pix/storepath"
)

// RootsOf returns the roots of s that keep one of the paths from being collected, sorted by link and path. Like
// [ExplainLiveness] for a daemon, it finds only the roots that s shows to the user. Settings of the store are
// unknown, so it assumes their defaults in Nix: the derivers of live paths are kept, and the outputs of live
// derivations are not. The error is a [*NotFoundError] if a path is not valid, or a [*LimitError] if more paths than
// the limits of s allow keep them.
//
// Source: nix-store --query --roots.
func RootsOf(ctx context.Context, s Store, paths ...storepath.Path) ([]Root, error) {
	roots, err := Roots(ctx, s)
	if err != nil {
		return nil, err
	}
	w, err := newKeeperWalk(ctx, s, paths)
	if err != nil {
		return nil, err
	}
	for len(w.level) > 0 {
		if err := w.advance(ctx); err != nil {
			return nil, err
		}
	}
	roots = slices.DeleteFunc(slices.Clone(roots), func(r Root) bool { _, keeps := w.next[r.Path]; return !keeps })
	slices.SortFunc(roots, compareRoots)
	return roots, nil
}

func compareRoots(a, b Root) int {
	return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Path, b.Path))
}

// explainByReferrers explains why a path is live for a store that has roots and referrers, such as the store of a daemon. It walks
// from the path to the paths that keep it, until it finds a root; see [RootsOf] for its assumptions.
func explainByReferrers(ctx context.Context, s Store, path storepath.Path) (*Liveness, error) {
	roots, err := Roots(ctx, s)
	if err != nil {
		return nil, err
	}
	byPath := make(map[storepath.Path]Root, len(roots))
	for _, r := range roots {
		if known, ok := byPath[r.Path]; !ok || r.Link < known.Link {
			byPath[r.Path] = r
		}
	}
	w, err := newKeeperWalk(ctx, s, []storepath.Path{path})
	if err != nil {
		return nil, err
	}
	for len(w.level) > 0 {
		for _, at := range w.level {
			if root, ok := byPath[at]; ok {
				return &Liveness{Root: root, Chain: w.chain(at, path)}, nil
			}
		}
		if err := w.advance(ctx); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// A keeperWalk follows what keeps paths alive, by distance. Paths at the same distance are sorted, so that the result
// is always the same.
type keeperWalk struct {
	store  Store
	limits Limits
	start  storepath.Path
	level  []storepath.Path                // the paths at the current distance
	next   map[storepath.Path]LivenessStep // from each path that was found, the step to a path that it keeps
}

// newKeeperWalk begins a walk at valid paths.
func newKeeperWalk(ctx context.Context, s Store, paths []storepath.Path) (*keeperWalk, error) {
	valid, err := s.QueryValidPaths(ctx, paths, false)
	if err != nil {
		return nil, err
	}
	w := &keeperWalk{store: s, limits: LimitsOf(s), level: valid, next: make(map[storepath.Path]LivenessStep)}
	for _, path := range paths {
		if _, ok := slices.BinarySearch(valid, path); !ok {
			return nil, &NotFoundError{Path: path}
		}
		w.start, w.next[path] = path, LivenessStep{}
	}
	return w, nil
}

// advance moves to the paths that keep the current paths and were not found before.
func (w *keeperWalk) advance(ctx context.Context) error {
	keepers := make([]map[storepath.Path]LivenessReason, len(w.level))
	group, ctx := parallel.WithContext(ctx, closureQueries)
	for i, path := range w.level {
		group.Go(func() (err error) {
			keepers[i], err = keepersOf(ctx, w.store, path)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var found []storepath.Path
	for i, at := range w.level {
		for _, keeper := range slices.Sorted(maps.Keys(keepers[i])) {
			if _, known := w.next[keeper]; !known {
				w.next[keeper] = LivenessStep{at, keepers[i][keeper]}
				found = append(found, keeper)
			}
		}
		if e := w.limits.Exceeded(len(w.next), 0, 2*int64(len(w.next))*keeperBytes); e != nil {
			e.Root, e.Path, e.Source = w.start, at, nameOf(w.store)
			return e
		}
	}
	slices.Sort(found)
	w.level = found
	return nil
}

// keeperBytes is the approximate memory of a path that a keeperWalk has found.
const keeperBytes = 240

// chain returns the chain from the path of a root to the path that is explained.
func (w *keeperWalk) chain(from, to storepath.Path) []LivenessStep {
	chain := []LivenessStep{{from, LiveRoot}}
	for from != to {
		step := w.next[from]
		chain = append(chain, step)
		from = step.Path
	}
	return chain
}

// keepersOf returns the paths that keep a path alive themselves, and why.
func keepersOf(ctx context.Context, s Store, path storepath.Path) (map[storepath.Path]LivenessReason, error) {
	referrers, err := Referrers(ctx, s, path)
	if err != nil {
		return nil, err
	}
	keepers := make(map[storepath.Path]LivenessReason, len(referrers))
	if path.IsDerivation() {
		outputs, err := OutputMap(ctx, s, path)
		if err != nil {
			return nil, err
		}
		for _, output := range outputs {
			if output != "" {
				keepers[output] = LiveDeriver // it is a root or has referrers only if it is valid
			}
		}
	}
	for _, r := range referrers {
		keepers[r] = LiveReference
	}
	return keepers, nil
}
