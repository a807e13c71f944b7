package store

import (
	"hash/maphash"
	"slices"

	"pix/storepath"
)

// A nodeTable contains nodes by path. It is a list, and an open-addressing table of indexes in it: a million nodes
// take 32 MB, and 95 MB in a map. The hash has a random seed, because the source of infos determines the paths.
type nodeTable struct {
	nodes []node
	seed  maphash.Seed
	slots []int32 // the index of a node plus 1, or 0; at least half of the slots are 0
}

func newNodeTable() nodeTable {
	const slots = 64
	return nodeTable{seed: maphash.MakeSeed(), slots: make([]int32, slots)}
}

func (t *nodeTable) len() int { return len(t.nodes) }

// find returns the node with a path, or nil. The pointer is valid until the next call of add.
func (t *nodeTable) find(path storepath.Path) *node {
	if i := t.slots[t.slot(path)]; i > 0 {
		return &t.nodes[i-1]
	}
	return nil
}

// add adds a node, whose path must not be in the table.
func (t *nodeTable) add(n node) *node {
	t.nodes = append(t.nodes, n)
	if 2*len(t.nodes) > len(t.slots) {
		t.grow()
	} else {
		t.slots[t.slot(n.path)] = int32(len(t.nodes))
	}
	return &t.nodes[len(t.nodes)-1]
}

// grow doubles the number of slots, and fills them.
func (t *nodeTable) grow() {
	t.slots = make([]int32, 2*len(t.slots))
	for i := range t.nodes {
		t.slots[t.slot(t.nodes[i].path)] = int32(i + 1)
	}
}

// slot returns the slot with a path, or the free one for it. The number of slots is a power of two.
func (t *nodeTable) slot(path storepath.Path) int {
	mask := len(t.slots) - 1
	k := int(maphash.String(t.seed, string(path))) & mask
	for t.slots[k] != 0 && t.nodes[t.slots[k]-1].path != path {
		k = (k + 1) & mask
	}
	return k
}

// sortedPaths returns the paths of the nodes, sorted.
func (t *nodeTable) sortedPaths() []storepath.Path {
	paths := make([]storepath.Path, len(t.nodes))
	for i := range paths {
		paths[i] = t.nodes[i].path
	}
	slices.Sort(paths)
	return paths
}
