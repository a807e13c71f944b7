package localstore

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

// A hashTable finds nodes of a graph by hash parts. It takes 8 to 16 bytes for each node, and a map from strings about 50.
// The hash has a random seed, because users choose paths.
type hashTable struct {
	seed  maphash.Seed
	slots []int32 // a node plus 1, or 0; at least half of the slots are 0
}

// newHashTable returns a table for at most n nodes.
func newHashTable(n int) hashTable {
	return hashTable{maphash.MakeSeed(), make([]int32, 2<<bits.Len(uint(n)))}
}

// slot returns the first slot for a hash part. The length of slots is a power of two.
func (t hashTable) slot(hashPart string) int {
	return int(maphash.String(t.seed, hashPart) & uint64(len(t.slots)-1))
}

// add adds a node.
func (t hashTable) add(hashPart string, node int32) {
	k := t.slot(hashPart)
	for t.slots[k] != 0 {
		k = (k + 1) & (len(t.slots) - 1)
	}
	t.slots[k] = node + 1
}

// candidates returns an iterator over the nodes with a hash part, and others. The caller compares their paths.
func (t hashTable) candidates(hashPart string) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for k := t.slot(hashPart); t.slots[k] != 0; k = (k + 1) & (len(t.slots) - 1) {
			if !yield(t.slots[k] - 1) {
				return
			}
		}
	}
}
