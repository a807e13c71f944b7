package live

import (
	"cmp"
	"slices"

	"pix/activity"
)

// A treeItem is a build or another activity with a row in the view.
type treeItem struct {
	build *build
	node  *node

	parent   *treeItem
	children []*treeItem
	first    int // the smallest serial of the item and everything below it, by which rows are sorted
}

// choose returns the items for a number of rows: running builds, failed builds and other activities. If there are rows left,
// the dependents of running builds and the latest successful builds are added.
func (s *State) choose(rows int) []*treeItem {
	if rows <= 0 {
		return nil
	}
	run, failed, built := s.chooseBuilds()
	others := s.chooseOthers()
	failed = failed[:min(len(failed), max(rows/4, rows-len(run)-len(others)))]
	others = others[:min(len(others), max(rows/3, rows-len(run)-len(failed)))]
	run = run[:min(len(run), max(rows-len(failed)-len(others), 0))]
	items := slices.Concat(run, failed, others)
	items = items[:min(len(items), rows)]
	items = append(items, waitingAncestors(items, rows-len(items))...)
	return append(items, built[:min(len(built), rows/6, rows-len(items))]...)
}

// chooseBuilds returns the running builds, the oldest first, and the failed and the successful builds, the latest first.
func (s *State) chooseBuilds() (run, failed, built []*treeItem) {
	for _, n := range s.nodes {
		if b := n.build; b != nil && b.state == running && n.start.Type == activity.Build {
			run = append(run, &treeItem{build: b})
		}
	}
	slices.SortFunc(run, func(a, b *treeItem) int { return cmp.Compare(a.build.serial, b.build.serial) })
	for _, b := range slices.Backward(s.failed) {
		failed = append(failed, &treeItem{build: b})
	}
	for _, b := range slices.Backward(s.lastBuilt) {
		built = append(built, &treeItem{build: b})
	}
	return run, failed, built
}

// waitingAncestors returns up to n builds that wait for the chosen ones: first the roots, which the user has requested, then
// the builds in which branches of the tree meet, then the direct parents.
func waitingAncestors(chosen []*treeItem, n int) []*treeItem {
	if n <= 0 {
		return nil
	}
	has := make(map[*build]bool)
	for _, it := range chosen {
		has[it.build] = it.build != nil
	}
	branches := make(map[*build]int) // the number of branches below each ancestor
	isParent := make(map[*build]bool)
	for _, it := range chosen {
		if it.build == nil {
			continue
		}
		for b := it.build; b.parent != nil; b = b.parent {
			if b == it.build {
				isParent[b.parent] = true
			}
			if branches[b.parent]++; branches[b.parent] > 1 {
				break // the ancestors above were counted for another branch
			}
		}
	}
	var waiting []*build
	for b := range branches {
		if !has[b] {
			waiting = append(waiting, b)
		}
	}
	rank := func(b *build) int {
		switch {
		case b.parent == nil:
			return 0
		case branches[b] > 1:
			return 1
		case isParent[b]:
			return 2
		}
		return 3
	}
	slices.SortFunc(waiting, func(a, b *build) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(branches[b], branches[a]), cmp.Compare(a.depth, b.depth), byName(a, b))
	})
	var items []*treeItem
	for _, b := range waiting[:min(n, len(waiting))] {
		items = append(items, &treeItem{build: b})
	}
	return items
}

// chooseOthers returns the activities with a row that are not builds, the oldest first.
func (s *State) chooseOthers() []*treeItem {
	var items []*treeItem
	for _, n := range s.nodes {
		if s.hasRow(n) {
			items = append(items, &treeItem{node: n})
		}
	}
	slices.SortFunc(items, func(a, b *treeItem) int { return cmp.Compare(a.node.serial, b.node.serial) })
	return items
}

// hasRow reports whether an activity has a row. Activities that only contain and count others have none, and neither do
// activities that are a step of another one.
func (s *State) hasRow(n *node) bool {
	switch n.start.Type {
	case activity.Build, activity.Realise, activity.CopyPaths, activity.Builds:
		return n.start.Type == activity.Build && n.build == nil
	case activity.PostBuildHook:
		return n.build == nil || n.build.state != running
	case activity.CopyPath:
		return !s.isBelow(n, activity.Substitute)
	case activity.FileTransfer:
		return !s.isBelow(n, activity.CopyPath, activity.Substitute, activity.QueryPathInfo)
	}
	return n.start.Text != "" || len(n.start.Fields) > 0
}

// isBelow reports whether an activity is below one of these types.
func (s *State) isBelow(n *node, types ...activity.Type) bool {
	found := false
	s.walkParents(n, func(n *node) (stop bool) { found = slices.Contains(types, n.start.Type); return found })
	return found
}

// walkParents calls visit with the parent of an activity, its parent and so on, until visit returns true.
func (s *State) walkParents(n *node, visit func(*node) (stop bool)) {
	const maxDepth = 64 // a hostile daemon may report a cycle
	for range maxDepth {
		if n = s.nodes[n.start.Parent]; n == nil || visit(n) {
			return
		}
	}
}
