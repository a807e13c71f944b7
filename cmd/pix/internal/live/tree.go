package live

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxIndent is the largest indentation in levels. Deeper rows are not indented more.
const maxIndent = 8

// arrange makes a tree of the items: the parent of an item is its nearest ancestor that is an item, too. It returns
// the items without a parent, sorted.
func (s *State) arrange(items []*treeItem) []*treeItem {
	ofBuild := make(map[*build]*treeItem)
	ofNode := make(map[*node]*treeItem)
	for _, it := range items {
		if it.build != nil {
			ofBuild[it.build] = it
		} else {
			ofNode[it.node] = it
		}
	}
	var roots []*treeItem
	for _, it := range items {
		if it.build != nil {
			for b := it.build.parent; b != nil && it.parent == nil; b = b.parent {
				it.parent = ofBuild[b]
			}
		} else {
			s.walkParents(it.node, func(n *node) (stop bool) { it.parent = ofNode[n]; return it.parent != nil })
		}
		if it.parent == nil {
			roots = append(roots, it)
		} else {
			it.parent.children = append(it.parent.children, it)
		}
	}
	sortItems(roots)
	return roots
}

// sortItems sorts items and their descendants by the smallest serial in each subtree, so that a row keeps its place
// when rows appear and disappear.
func sortItems(items []*treeItem) {
	for _, it := range items {
		sortItems(it.children)
		it.first = math.MaxInt
		if it.build != nil && it.build.first > 0 {
			it.first = it.build.first
		} else if it.node != nil {
			it.first = it.node.serial
		}
		if len(it.children) > 0 {
			it.first = min(it.first, it.children[0].first)
		}
	}
	slices.SortFunc(items, func(a, b *treeItem) int {
		return cmp.Or(cmp.Compare(a.first, b.first), byName(a.build, b.build))
	})
}

// rows returns the lines of items and their descendants.
func (s *State) rows(items []*treeItem, indent string, depth int, st Style, now time.Time, columns int) []line {
	var lines []line
	m := st.marks()
	for i, it := range items {
		branch, below := m.child, m.bar
		if i == len(items)-1 {
			branch, below = m.last, m.gap
		}
		if depth == 0 {
			branch, below = "", ""
		}
		if depth > maxIndent || width(indent+branch) > columns/3 {
			branch, below = "", ""
		}
		l := s.row(it, st, now)
		if indent+branch != "" {
			l = append(line{{indent + branch, faint}}, l...)
		}
		lines = append(lines, l)
		lines = append(lines, s.rows(it.children, indent+below, depth+1, st, now, columns)...)
	}
	return lines
}
