package closure

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A MissingError says that a path is referred to and not in the closure.
type MissingError struct {
	Path, Referrer storepath.Path
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("'%s' refers to '%s', which is not in the closure", e.Referrer, e.Path)
}

// A builder collects the objects of a closure in any order. It keeps only the parts of an info that a closure has,
// so the info can be discarded.
type builder struct {
	nodes map[storepath.Path]int32 // by path, in the order in which the paths were first seen
	all   []builderNode
	refs  []int32 // nodes; first the references of one object, then of the next
}

// A builderNode is an object, or a path that was referred to.
type builderNode struct {
	path, deriver storepath.Path
	size          uint64
	first, end    int // of its references in refs
	added         bool
}

// newBuilder returns a builder with space for n paths.
func newBuilder(n int) *builder {
	return &builder{nodes: make(map[storepath.Path]int32, n), all: make([]builderNode, 0, n)}
}

// add adds an object, unless it was added before.
func (b *builder) add(info *store.PathInfo) {
	n := b.node(info.Path)
	if b.all[n].added {
		return
	}
	first := len(b.refs)
	for _, ref := range info.References {
		b.refs = append(b.refs, b.node(ref))
	}
	b.all[n] = builderNode{b.all[n].path, info.Deriver, info.NARSize, first, len(b.refs), true}
}

func (b *builder) node(path storepath.Path) int32 {
	n, ok := b.nodes[path]
	if !ok {
		n = int32(len(b.all))
		b.nodes[path] = n
		b.all = append(b.all, builderNode{path: path})
	}
	return n
}

// closure returns the closure of the added objects. The builder cannot be used afterwards. The error is a
// [*MissingError], or the cause of ctx.
func (b *builder) closure(ctx context.Context) (*Closure, error) {
	order := make([]int32, 0, len(b.all))
	for n := range b.all {
		if b.all[n].added {
			order = append(order, int32(n))
		}
	}
	slices.SortFunc(order, func(x, y int32) int { return cmp.Compare(b.all[x].path, b.all[y].path) })
	const missing = -1
	rank := make([]int32, len(b.all)) // the index of each node in the closure
	for n := range rank {
		rank[n] = missing
	}
	for i, n := range order {
		rank[n] = int32(i)
	}
	c := allocate(len(order), len(b.refs))
	steps := steps{ctx: ctx, every: 4096}
	for i, n := range order {
		if err := steps.next(); err != nil {
			return nil, err
		}
		node := &b.all[n]
		for _, ref := range b.refs[node.first:node.end] {
			switch rank[ref] {
			case missing:
				return nil, &MissingError{b.all[ref].path, node.path}
			case int32(i):
				c.self[i] = true
			default:
				c.refs = append(c.refs, rank[ref])
			}
		}
		refs := c.refs[c.first[i]:]
		slices.Sort(refs)
		c.refs = c.refs[:c.first[i]+len(slices.Compact(refs))]
		c.set(i, node.path, node.deriver, node.size)
	}
	return c, nil
}

// allocate returns an empty closure with memory for n objects. refs is the largest number of references.
func allocate(n, refs int) *Closure {
	return &Closure{
		paths:    make([]storepath.Path, n),
		derivers: make([]storepath.Path, n),
		sizes:    make([]uint64, n),
		self:     make([]bool, n),
		index:    make(map[storepath.Path]int32, n),
		refs:     make([]int32, 0, refs),
		first:    make([]int, n+1),
	}
}

// set sets object i, whose references are the last in c.refs.
func (c *Closure) set(i int, path, deriver storepath.Path, size uint64) {
	c.paths[i], c.derivers[i], c.sizes[i] = path, deriver, size
	c.index[path] = int32(i)
	c.first[i+1] = len(c.refs)
}

// only returns the objects whose indexes are marked, and the references between them.
func (c *Closure) only(keep []bool) *Closure {
	rank := make([]int32, c.Len())
	n, refs := int32(0), 0
	for i := range rank {
		if keep[i] {
			rank[i] = n
			n++
			refs += len(c.refsOf(int32(i)))
		}
	}
	part := allocate(int(n), refs)
	for i := range rank {
		if !keep[i] {
			continue
		}
		for _, ref := range c.refsOf(int32(i)) {
			if keep[ref] {
				part.refs = append(part.refs, rank[ref])
			}
		}
		part.self[rank[i]] = c.self[i]
		part.set(int(rank[i]), c.paths[i], c.derivers[i], c.sizes[i])
	}
	return part
}
