package live

import (
	"cmp"
	"slices"

	"pix/activity"
)

// An item is a build or another activity that has a row.
type item struct {
	build *build
	node  *node

	up       *item // under which it stands
	children []*item
	first    int // the serial of the first below it, which orders the rows
}

// choose returns what has a row when there are so many: what runs, what failed, what is
// fetched; and where there is room, what the builds that run are for, and what was built last.
func (s *State) choose(rows int) []*item {
	if rows <= 0 {
		return nil
	}
	run, bad, done := s.buildsToShow()
	rest := s.othersToShow()
	bad = bad[:min(len(bad), max(rows/4, rows-len(run)-len(rest)))]
	rest = rest[:min(len(rest), max(rows/3, rows-len(run)-len(bad)))]
	run = run[:min(len(run), max(rows-len(bad)-len(rest), 0))]
	items := slices.Concat(run, bad, rest)
	items = items[:min(len(items), rows)]
	items = append(items, ancestors(items, rows-len(items))...)
	return append(items, done[:min(len(done), rows/6, rows-len(items))]...)
}

// buildsToShow returns builds: those that run, the oldest first, those that failed and
// those that were built, the last first.
func (s *State) buildsToShow() (run, bad, done []*item) {
	for _, n := range s.nodes {
		if b := n.build; b != nil && b.state == running && n.start.Type == activity.Build {
			run = append(run, &item{build: b})
		}
	}
	slices.SortFunc(run, func(a, b *item) int { return cmp.Compare(a.build.serial, b.build.serial) })
	for _, b := range slices.Backward(s.failed) {
		bad = append(bad, &item{build: b})
	}
	for _, b := range slices.Backward(s.lastBuilt) {
		done = append(done, &item{build: b})
	}
	return run, bad, done
}

// ancestors returns up to n builds that wait for those that are chosen: first those in which
// branches meet, then those that are wanted in the end, then those that are next.
func ancestors(chosen []*item, n int) []*item {
	if n <= 0 {
		return nil
	}
	has := make(map[*build]bool)
	for _, it := range chosen {
		has[it.build] = it.build != nil
	}
	branches := make(map[*build]int) // below each that waits
	next := make(map[*build]bool)
	for _, it := range chosen {
		if it.build == nil {
			continue
		}
		for b := it.build; b.up != nil; b = b.up {
			if b == it.build {
				next[b.up] = true
			}
			if branches[b.up]++; branches[b.up] > 1 {
				break // the rest was counted
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
		case b.up == nil:
			return 0
		case branches[b] > 1:
			return 1
		case next[b]:
			return 2
		}
		return 3
	}
	slices.SortFunc(waiting, func(a, b *build) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(branches[b], branches[a]), cmp.Compare(a.depth, b.depth), byName(a, b))
	})
	var items []*item
	for _, b := range waiting[:min(n, len(waiting))] {
		items = append(items, &item{build: b})
	}
	return items
}

// othersToShow returns the activities that are neither builds nor parts of what is shown
// already, the oldest first.
func (s *State) othersToShow() []*item {
	var items []*item
	for _, n := range s.nodes {
		if s.hasRow(n) {
			items = append(items, &item{node: n})
		}
	}
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.node.serial, b.node.serial) })
	return items
}

// hasRow reports whether an activity is shown by itself. Some only hold others and count
// them, and some are how another is done.
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

// isBelow reports whether an activity is part of one of these types.
func (s *State) isBelow(n *node, types ...activity.Type) bool {
	found := false
	s.ancestor(n, func(n *node) bool { found = slices.Contains(types, n.start.Type); return found })
	return found
}

// ancestor calls is for what an activity is part of, what that is part of, and so on, until
// it says yes.
func (s *State) ancestor(n *node, is func(*node) bool) {
	const deepest = 64 // a daemon that lies may name a circle
	for range deepest {
		if n = s.nodes[n.start.Parent]; n == nil || is(n) {
			return
		}
	}
}
