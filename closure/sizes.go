package closure

import (
	"context"
	"math"
	"math/bits"

	"pix/storepath"
)

// total returns the sum of two sizes, or the largest number if the sum is larger: a hostile store can claim any size, and
// a sum that wraps around would look small.
func total(x, y uint64) uint64 {
	sum, carry := bits.Add64(x, y, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

// Size returns the size of all archives of the closure together, in bytes.
func (c *Closure) Size() (size uint64) {
	for _, n := range c.sizes {
		size = total(size, n)
	}
	return size
}

// ClosureSize returns the size of the archives of a path and of everything that it refers to, directly or
// indirectly, in bytes; 0 if the path is not in c.
func (c *Closure) ClosureSize(path storepath.Path) (size uint64) {
	for i, reached := range c.reach(path) {
		if reached {
			size = total(size, c.sizes[i])
		}
	}
	return size
}

// manyPaths is the number of paths from which on it is faster to compute the sizes of all closures together.
const manyPaths = 64

// ClosureSizes returns [Closure.ClosureSize] of each of the paths. It takes seconds for hundreds of thousands of paths.
// The error is a [*store.ReferenceCycleError], which fewer than 64 paths never cause, or the cause of ctx.
func (c *Closure) ClosureSizes(ctx context.Context, paths ...storepath.Path) (map[storepath.Path]uint64, error) {
	sizes := make(map[storepath.Path]uint64, len(paths))
	if len(paths) < manyPaths {
		for _, path := range paths {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			sizes[path] = c.ClosureSize(path)
		}
		return sizes, nil
	}
	all, err := c.allClosureSizes(ctx)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if i, ok := c.index[path]; ok {
			sizes[path] = all[i]
		}
	}
	return sizes, nil
}

// allClosureSizes returns the closure sizes of all paths, by index.
//
// A walk from each path would take quadratic time. Instead a set of paths is a bit set, and the closure of a path
// is the union of the closures of its references, 64 paths in one operation. Bit sets for all pairs would not fit
// into memory, so each pass computes, for a range of paths, in whose closures they are.
func (c *Closure) allClosureSizes(ctx context.Context) ([]uint64, error) {
	const memory = 8 << 20 / 8 // the size of all bit sets, in words
	order, err := c.sorted()
	if err != nil {
		return nil, err
	}
	rank := make([]int32, len(order)) // the inverse of order
	for i, at := range order {
		rank[at] = int32(i)
	}
	sums := make([]uint64, len(order))
	words := max(1, min(memory/max(1, len(order)), (len(order)+63)/64)) // of one bit set
	sets := make([]uint64, words*len(order))
	steps := steps{ctx: ctx, every: 256}
	partial := make([]partialSums, words)
	for first := 0; first < len(order); first += 64 * words {
		clear(sets)
		members := order[first:min(first+64*words, len(order))]
		for w := range partial {
			partial[w].set(c, members[min(64*w, len(members)):min(64*w+64, len(members))])
		}
		for i := first; i < len(order); i++ { // objects before first refer to none of the members
			if err := steps.next(); err != nil {
				return nil, err
			}
			set := sets[i*words : (i+1)*words]
			if at := i - first; at < len(members) {
				set[at/64] |= 1 << (at % 64)
			}
			for _, ref := range c.refsOf(order[i]) {
				from := int(rank[ref]) * words
				for w, word := range sets[from : from+words] {
					set[w] |= word
				}
			}
			sums[order[i]] = total(sums[order[i]], sumSizes(set, partial))
		}
	}
	return sums, nil
}

// partialSums has for each byte of a word of a bit set the size of the members whose bits are set. Closures have many of
// the members, and adding 8 numbers for 64 of them takes about half of the time of adding each.
type partialSums [8][256]uint64

// set computes the sums of at most 64 members.
func (p *partialSums) set(c *Closure, members []int32) {
	for i := range p {
		for set := 1; set < 256; set++ {
			low := set & -set
			sum := p[i][set&^low]
			if at := 8*i + bits.TrailingZeros(uint(low)); at < len(members) {
				sum = total(sum, c.sizes[members[at]])
			}
			p[i][set] = sum
		}
	}
}

// sumSizes returns the size of the members whose bits are set.
func sumSizes(set []uint64, partial []partialSums) (sum uint64) {
	for w, word := range set {
		for i := 0; word != 0; i++ {
			sum = total(sum, partial[w][i&7][word&255])
			word >>= 8
		}
	}
	return sum
}
