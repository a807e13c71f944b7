package store

import (
	"context"

	"pix/storepath"
)

// explainByReferrers explains why a path is live for a store that has roots and referrers, such as the store of a daemon. It walks
// from the path to the paths that keep it, until it finds a root. Settings of the store are unknown, so it assumes their
// defaults in Nix: the derivers of live paths are kept, the outputs of live derivations are not.
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
	// next is the step from each visited path towards the path that is explained.
	next := map[storepath.Path]LivenessStep{path: {}}
	for queue := []storepath.Path{path}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if root, ok := byPath[at]; ok {
			return &Liveness{Root: root, Chain: chainFrom(at, path, next)}, nil
		}
		keepers, err := keepersOf(ctx, s, at)
		if err != nil {
			return nil, err
		}
		for keeper, why := range keepers {
			if _, visited := next[keeper]; !visited {
				next[keeper] = LivenessStep{at, why}
				queue = append(queue, keeper)
			}
		}
	}
	return nil, nil
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

// chainFrom returns the chain from the path of a root to the path that is explained.
func chainFrom(from, to storepath.Path, next map[storepath.Path]LivenessStep) []LivenessStep {
	chain := []LivenessStep{{from, LiveRoot}}
	for from != to {
		step := next[from]
		chain = append(chain, step)
		from = step.Path
	}
	return chain
}
