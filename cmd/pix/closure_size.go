package main

import (
	"context"
	"math/bits"

	"pix/store"
	"pix/storepath"
)

// closureSizes returns for each of the infos the size of the archives of its path and of all
// that it refers to, and so on, together, in bytes. Whole says that the infos are those of a
// closure, so that s need not be asked for more.
func closureSizes(ctx context.Context, s store.Store, infos []*store.PathInfo, whole bool) (map[storepath.Path]uint64, error) {
	roots := make([]storepath.Path, len(infos))
	known := make(map[storepath.Path]*store.PathInfo, len(infos))
	for i, info := range infos {
		roots[i], known[info.Path] = info.Path, info
	}
	if !whole {
		var err error
		if known, err = loadClosure(ctx, s, roots...); err != nil {
			return nil, err
		}
	}
	if len(roots) < manyRoots {
		sizes := make(map[storepath.Path]uint64, len(roots))
		for _, root := range roots {
			for _, info := range closureIn(known, root) {
				sizes[root] += info.NARSize
			}
		}
		return sizes, nil
	}
	return allClosureSizes(known)
}

// manyRoots is from how many roots on it is worth to find the sizes of all closures together.
const manyRoots = 64

// closureIn returns the closure of a path within a larger one.
func closureIn(known map[storepath.Path]*store.PathInfo, root storepath.Path) map[storepath.Path]*store.PathInfo {
	closure := map[storepath.Path]*store.PathInfo{root: known[root]}
	for todo := []storepath.Path{root}; len(todo) > 0; {
		info := known[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		for _, p := range info.References {
			if closure[p] == nil {
				closure[p] = known[p]
				todo = append(todo, p)
			}
		}
	}
	return closure
}

// allClosureSizes returns the sizes of the closures of all paths, which together are a closure.
//
// A path has those in its closure that are in the closures of what it refers to. To walk each
// closure would take as long as there are pairs; so sets of paths are sets of bits, 64 of which
// are joined at once. For as many paths at a time as fit into a few megabytes, it is found in
// whose closures they are.
func allClosureSizes(known map[storepath.Path]*store.PathInfo) (map[storepath.Path]uint64, error) {
	const memory = 8 << 20 / 8 // words
	infos := make([]*store.PathInfo, 0, len(known))
	for _, info := range known {
		infos = append(infos, info)
	}
	infos, err := store.SortByReferences(infos) // so that what a path refers to comes before it
	if err != nil {
		return nil, err
	}
	index := make(map[storepath.Path]int, len(infos))
	for i, info := range infos {
		index[info.Path] = i
	}
	references := make([][]int, len(infos))
	for i, info := range infos {
		for _, p := range info.References {
			if p != info.Path {
				references[i] = append(references[i], index[p])
			}
		}
	}
	sums := make([]uint64, len(infos))
	words := max(1, memory/max(1, len(infos))) // of a set
	sets := make([]uint64, words*len(infos))
	for first := 0; first < len(infos); first += 64 * words {
		clear(sets)
		part := infos[first:min(first+64*words, len(infos))]
		for i := first; i < len(infos); i++ { // those before have none of the part in their closures
			set := sets[i*words : (i+1)*words]
			if at := i - first; at < len(part) {
				set[at/64] |= 1 << (at % 64)
			}
			for _, ref := range references[i] {
				for w, of := range sets[ref*words : (ref+1)*words] {
					set[w] |= of
				}
			}
			sums[i] += sumOf(set, part)
		}
	}
	sizes := make(map[storepath.Path]uint64, len(infos))
	for i, info := range infos {
		sizes[info.Path] = sums[i]
	}
	return sizes, nil
}

// sumOf returns the sizes of those infos together whose bits are set.
func sumOf(set []uint64, infos []*store.PathInfo) (sum uint64) {
	for w, word := range set {
		for ; word != 0; word &= word - 1 {
			sum += infos[64*w+bits.TrailingZeros64(word)].NARSize
		}
	}
	return sum
}
