package live

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxIndent is how deep rows stand under each other; what is deeper stands as deep as
// its parent.
const maxIndent = 8

// arrange puts each item under the nearest one above it that is there too, and returns
// those that are under none, in their order.
func (s *State) arrange(items []*item) []*item {
	ofBuild := make(map[*build]*item)
	ofNode := make(map[*node]*item)
	for _, it := range items {
		if it.build != nil {
			ofBuild[it.build] = it
		} else {
			ofNode[it.node] = it
		}
	}
	var roots []*item
	for _, it := range items {
		if it.build != nil {
			for b := it.build.up; b != nil && it.up == nil; b = b.up {
				it.up = ofBuild[b]
			}
		} else {
			s.ancestor(it.node, func(n *node) bool { it.up = ofNode[n]; return it.up != nil })
		}
		if it.up == nil {
			roots = append(roots, it)
		} else {
			it.up.children = append(it.up.children, it)
		}
	}
	sortItems(roots)
	return roots
}

// sortItems sorts items, and those below them, by when the first of each family began, so
// that what is there stays where it is.
func sortItems(items []*item) {
	for _, it := range items {
		sortItems(it.children)
		it.first = math.MaxInt
		if it.build != nil && it.build.serial > 0 {
			it.first = it.build.serial
		} else if it.node != nil {
			it.first = it.node.serial
		}
		if len(it.children) > 0 {
			it.first = min(it.first, it.children[0].first)
		}
	}
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.first, b.first), byName(a.build, b.build))
	})
}

// rows returns the lines of items and of those below them.
func (s *State) rows(items []*item, indent string, depth int, st Style, now time.Time, columns int) []line {
	var lines []line
	m := st.marks()
	for i, it := range items {
		own, below := m.child, m.bar
		if i == len(items)-1 {
			own, below = m.last, m.gap
		}
		if depth == 0 {
			own, below = "", ""
		}
		if depth > maxIndent || width(indent+own) > columns/3 {
			own, below = "", ""
		}
		l := s.row(it, st, now)
		if indent+own != "" {
			l = append(line{{indent + own, faint}}, l...)
		}
		lines = append(lines, l)
		lines = append(lines, s.rows(it.children, indent+below, depth+1, st, now, columns)...)
	}
	return lines
}
