package localstore

import (
	"context"
	"slices"

	"pix/store"
	"pix/storepath"
)

// ExplainLiveness returns a root that keeps a path, and a shortest chain of paths from the root to the path. It returns
// nil if the path is dead by the rules of [Store.CollectGarbage], and a [*store.NotFoundError] if the path is not valid.
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
	nodes, byNode := g.rootNodes(roots)
	marks := g.newMarks()
	g.markFrom(marks, nodes...)
	if marks[i] == notMarked {
		return nil, nil
	}
	l := new(store.Liveness)
	for ; marks[i] != byRoot; i = int32(marks[i]) {
		l.Chain = append(l.Chain, store.LivenessStep{Path: g.paths[i], Needed: g.whyNeeded(int32(marks[i]), i)})
	}
	l.Root = byNode[i]
	l.Chain = append(l.Chain, store.LivenessStep{Path: g.paths[i]})
	slices.Reverse(l.Chain)
	return l, nil
}

// rootNodes returns the nodes of the paths of roots, and the first root of each node. Roots that a user has added come
// first, because a process that uses the path is a less helpful explanation.
func (g *graph) rootNodes(roots []store.Root) (nodes []int32, byNode map[int32]store.Root) {
	roots = slices.Clone(roots)
	slices.SortStableFunc(roots, func(a, b store.Root) int { return rank(a) - rank(b) })
	byNode = make(map[int32]store.Root)
	for _, r := range roots {
		// A temporary root keeps every path with its hash part. A consistent store has at most one.
		i, ok := g.find(r.Path)
		if !ok {
			continue
		}
		if _, known := byNode[i]; !known {
			byNode[i] = r
			nodes = append(nodes, i)
		}
	}
	return nodes, byNode
}

// rank orders roots: first symlinks, then processes, then temporary roots.
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
