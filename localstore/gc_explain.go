package localstore

import (
	"context"
	"slices"
	"sort"

	"pix/store"
	"pix/storepath"
)

// ExplainLiveness says why a path is not garbage: it returns a root, and a shortest way from it to
// the path, or nil if nothing needs the path. The error is a [*store.NotFoundError] if it is not valid.
// Settings are those of [Store.CollectGarbage].
func (s *Store) ExplainLiveness(ctx context.Context, path storepath.Path) (*store.Liveness, error) {
	roots, err := s.FindRoots(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.loadGraph(ctx, s.opts.KeepOutputs, !s.opts.DropDerivers)
	if err != nil {
		return nil, err
	}
	i, valid := g.find(path)
	if !valid {
		return nil, &store.NotFoundError{Path: path}
	}
	places, byPlace := g.placeRoots(roots)
	marks := g.newMarks()
	g.markFrom(marks, places...)
	if marks[i] == notMarked {
		return nil, nil
	}
	l := new(store.Liveness)
	for ; marks[i] != byRoot; i = int32(marks[i]) {
		l.Chain = append(l.Chain, store.LivenessStep{Path: g.paths[i], Needed: g.whyNeeded(int32(marks[i]), i)})
	}
	l.Root = byPlace[i]
	l.Chain = append(l.Chain, store.LivenessStep{Path: g.paths[i]})
	slices.Reverse(l.Chain)
	return l, nil
}

// placeRoots returns where the paths of roots are, and the first root of each. Roots that the
// user made come first: to name the process that uses a path helps less.
func (g *graph) placeRoots(roots []store.Root) (places []int32, byPlace map[int32]store.Root) {
	roots = slices.Clone(roots)
	sort.SliceStable(roots, func(i, j int) bool { return rank(roots[i]) < rank(roots[j]) })
	byPlace = make(map[int32]store.Root)
	for _, r := range roots {
		// A temporary root keeps all with its hash part. They are one path, if any.
		i, ok := g.find(r.Path)
		if !ok {
			continue
		}
		if _, known := byPlace[i]; !known {
			byPlace[i] = r
			places = append(places, i)
		}
	}
	return places, byPlace
}

// rank orders roots: links before processes, and those before temporary roots.
func rank(r store.Root) int {
	switch {
	case isBelow("/proc", r.Link), r.Link == lsofLink:
		return 1
	case r.Link[0] == '{':
		return 2
	}
	return 0
}

// whyNeeded returns why one path needs another.
func (g *graph) whyNeeded(from, to int32) store.LivenessReason {
	switch {
	case slices.Contains(g.refs.of(from), to):
		return store.LiveReference
	case g.paths[from].IsDerivation() && !g.paths[to].IsDerivation():
		return store.LiveOutput
	}
	return store.LiveDeriver
}
