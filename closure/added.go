package closure

import (
	"context"
	"slices"

	"pix/storepath"
)

// AddedSizes returns by how many bytes each path makes the closure of the roots larger: the size of what would leave
// the closure if nothing referred to the path, which is the path itself and everything that only it needs. For a
// single root that is the whole closure. nix-tree defines the added size in the same way.
//
// The result has all paths of the closure of the roots. Roots that are not in c are ignored. The error is the cause of
// ctx: a million paths take more than a second.
func (c *Closure) AddedSizes(ctx context.Context, roots ...storepath.Path) (map[storepath.Path]uint64, error) {
	d, err := c.dominatorsFrom(ctx, roots)
	if err != nil {
		return nil, err
	}
	sizes := make([]uint64, len(d.object))
	added := make(map[storepath.Path]uint64, len(d.object))
	for v := len(d.object) - 1; v > 0; v-- { // each after everything that it dominates
		sizes[v] = total(sizes[v], c.sizes[d.object[v]])
		sizes[d.dominator[v]] = total(sizes[d.dominator[v]], sizes[v])
		added[c.paths[d.object[v]]] = sizes[v]
	}
	return added, nil
}

// Dominators returns the direct dominator of each path: of the paths without which it would leave the closure of the roots,
// the nearest one. Roots, and paths that would stay without any one other path, have none and are missing. So the added
// size of a path is its own size and the added sizes of the paths that it dominates directly. It returns the errors of AddedSizes.
func (c *Closure) Dominators(ctx context.Context, roots ...storepath.Path) (map[storepath.Path]storepath.Path, error) {
	d, err := c.dominatorsFrom(ctx, roots)
	if err != nil {
		return nil, err
	}
	dominators := make(map[storepath.Path]storepath.Path)
	for v := 1; v < len(d.object); v++ {
		if above := d.dominator[v]; above != 0 {
			dominators[c.paths[d.object[v]]] = c.paths[d.object[above]]
		}
	}
	return dominators, nil
}

func (c *Closure) dominatorsFrom(ctx context.Context, roots []storepath.Path) (*dominators, error) {
	steps := steps{ctx: ctx, every: 4096}
	d, err := newDominators(c, c.find(roots, make([]bool, c.Len())), &steps)
	if err != nil {
		return nil, err
	}
	return d, d.setSemis(&steps)
}

// dominators computes which objects leave a closure with an object. An object dominates another if every chain from
// a root to the other leads through it. The direct dominator of an object is the nearest one.
//
// Lengauer and Tarjan describe the algorithm ("A Fast Algorithm for Finding Dominators in a Flowgraph", 1979, the
// simple version of link and eval). It takes O(m log n) time for n objects and m references, with and without
// cycles.
//
// A vertex is the number of an object in a depth-first search. Vertex 0 refers to the roots, and is no object.
type dominators struct {
	*Closure
	object []int32 // by vertex
	vertex []int32 // by object; 0 for an object that is not reached

	isRoot    []bool
	parent    []int32 // in the search
	semi      []int32 // the semidominator
	dominator []int32

	ancestor, best []int32 // the forest of eval; ancestor is none for a root of a tree
	inBucket, next []int32 // for each vertex, a list of the vertices that it semidominates
}

const none = -1

func newDominators(c *Closure, roots []int32, steps *steps) (*dominators, error) {
	d := &dominators{Closure: c, object: []int32{none}, parent: []int32{none}, vertex: make([]int32, c.Len())}
	next := slices.Clone(c.first[:c.Len()])
	for _, root := range roots {
		if d.vertex[root] != 0 {
			continue
		}
		d.enter(root, 0)
		for stack := []int32{root}; len(stack) > 0; {
			if err := steps.next(); err != nil {
				return nil, err
			}
			top := stack[len(stack)-1]
			if next[top] == c.first[top+1] {
				stack = stack[:len(stack)-1]
				continue
			}
			ref := c.refs[next[top]]
			next[top]++
			if d.vertex[ref] == 0 {
				d.enter(ref, d.vertex[top])
				stack = append(stack, ref)
			}
		}
	}
	n := len(d.object)
	d.semi, d.dominator, d.best = make([]int32, n), make([]int32, n), make([]int32, n)
	for v := range d.semi {
		d.semi[v], d.best[v] = int32(v), int32(v)
	}
	d.isRoot = make([]bool, n)
	for _, root := range roots {
		d.isRoot[d.vertex[root]] = true
	}
	d.ancestor = slices.Repeat([]int32{none}, n)
	d.inBucket, d.next = slices.Clone(d.ancestor), slices.Clone(d.ancestor)
	return d, nil
}

func (d *dominators) enter(object, parent int32) {
	d.vertex[object] = int32(len(d.object))
	d.object, d.parent = append(d.object, object), append(d.parent, parent)
}

// setSemis computes the semidominators, and from these the dominators.
func (d *dominators) setSemis(steps *steps) error {
	referrers, first := d.referrers()
	for v := int32(len(d.object) - 1); v > 0; v-- {
		if err := steps.next(); err != nil {
			return err
		}
		o := d.object[v]
		for _, referrer := range referrers[first[o]:first[o+1]] {
			if from := d.vertex[referrer]; from != 0 {
				d.semi[v] = min(d.semi[v], d.semi[d.eval(from)])
			}
		}
		if d.isRoot[v] {
			d.semi[v] = 0
		}
		d.next[v], d.inBucket[d.semi[v]] = d.inBucket[d.semi[v]], v
		parent := d.parent[v]
		d.ancestor[v] = parent
		for w := d.inBucket[parent]; w != none; w = d.next[w] {
			d.dominator[w] = parent
			if u := d.eval(w); d.semi[u] < d.semi[w] {
				d.dominator[w] = u
			}
		}
		d.inBucket[parent] = none
	}
	for v := 1; v < len(d.object); v++ {
		if d.dominator[v] != d.semi[v] {
			d.dominator[v] = d.dominator[d.dominator[v]]
		}
	}
	return nil
}

// eval returns the vertex with the smallest semidominator on the way from v up to the root of its tree, without the
// root. It shortens the way.
func (d *dominators) eval(v int32) int32 {
	if d.ancestor[v] == none {
		return v
	}
	var way []int32
	for at := v; d.ancestor[d.ancestor[at]] != none; at = d.ancestor[at] {
		way = append(way, at)
	}
	for _, at := range slices.Backward(way) {
		above := d.ancestor[at]
		if d.semi[d.best[above]] < d.semi[d.best[at]] {
			d.best[at] = d.best[above]
		}
		d.ancestor[at] = d.ancestor[above]
	}
	return d.best[v]
}
