package closure

import (
	"context"
	"iter"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A Closure is a set of store objects that contains every object that one of them refers to.
//
// It needs about 260 bytes for an object with six references. Infos of a million objects, with
// hashes and signatures, would take several times as much.
type Closure struct {
	paths    []storepath.Path // sorted
	derivers []storepath.Path
	sizes    []uint64
	self     []bool // whether the object refers to itself
	index    map[storepath.Path]int32

	// refs has the references of all objects except to themselves, as indexes in paths. The sorted
	// references of object i begin at first[i] and end before first[i+1].
	refs  []int32
	first []int
}

// An Object is a store object of a closure.
type Object struct {
	Path       storepath.Path
	Deriver    storepath.Path   // the derivation that built it; "" if unknown
	NARSize    uint64           // the size of its archive in bytes
	References []storepath.Path // sorted; they may include Path
}

// New returns the closure of these infos. The error is a [*MissingError] if one of them refers to a path that is
// not among them.
func New(infos []*store.PathInfo) (*Closure, error) {
	b := newBuilder(len(infos))
	for _, info := range infos {
		b.add(info)
	}
	return b.closure(context.Background())
}

// Len returns the number of objects.
func (c *Closure) Len() int { return len(c.paths) }

// Get returns an object, and whether it is in the closure.
func (c *Closure) Get(path storepath.Path) (Object, bool) {
	i, ok := c.index[path]
	if !ok {
		return Object{}, false
	}
	return c.object(i), true
}

func (c *Closure) object(i int32) Object {
	return Object{c.paths[i], c.derivers[i], c.sizes[i], c.pathsOf(c.withSelf(i))}
}

// All returns an iterator over the objects, sorted by path.
func (c *Closure) All() iter.Seq2[storepath.Path, Object] {
	return func(yield func(storepath.Path, Object) bool) {
		for i, path := range c.paths {
			if !yield(path, c.object(int32(i))) {
				return
			}
		}
	}
}

// Paths returns the paths, sorted.
func (c *Closure) Paths() []storepath.Path { return slices.Clone(c.paths) }

// Of returns the closure of some of the paths. Roots that are not in c are ignored.
func (c *Closure) Of(roots ...storepath.Path) *Closure { return c.only(c.reach(roots...)) }

// Within returns the objects that are at most depth references away from a root. It leaves out the references to
// other objects, so the result is a part of a closure, for a smaller picture or tree.
func (c *Closure) Within(depth int, roots ...storepath.Path) *Closure {
	keep := make([]bool, c.Len())
	level := c.find(roots, keep)
	for ; depth > 0 && len(level) > 0; depth-- {
		var next []int32
		for _, i := range level {
			for _, ref := range c.refsOf(i) {
				if !keep[ref] {
					keep[ref] = true
					next = append(next, ref)
				}
			}
		}
		level = next
	}
	return c.only(keep)
}

// refsOf returns the indexes of the references of an object, except to itself.
func (c *Closure) refsOf(i int32) []int32 { return c.refs[c.first[i]:c.first[i+1]] }

// withSelf returns the indexes of all references of an object.
func (c *Closure) withSelf(i int32) []int32 {
	refs := c.refsOf(i)
	if !c.self[i] {
		return refs
	}
	at, _ := slices.BinarySearch(refs, i)
	return slices.Insert(slices.Clone(refs), at, i)
}

func (c *Closure) pathsOf(indexes []int32) []storepath.Path {
	paths := make([]storepath.Path, len(indexes))
	for i, at := range indexes {
		paths[i] = c.paths[at]
	}
	return paths
}

// find marks the paths that are in c, and returns their indexes, each once.
func (c *Closure) find(paths []storepath.Path, marks []bool) (found []int32) {
	for _, path := range paths {
		if i, ok := c.index[path]; ok && !marks[i] {
			marks[i] = true
			found = append(found, i)
		}
	}
	return found
}

// reach returns for each index whether the path is in the closure of the roots.
func (c *Closure) reach(roots ...storepath.Path) []bool { return c.reachAlong(c.refs, c.first, roots) }

// reachAlong returns for each index whether the path can be reached from the roots. The edges of object i begin at first[i] and
// end before first[i+1], as in refs and as in [Closure.referrers].
func (c *Closure) reachAlong(edges []int32, first []int, roots []storepath.Path) []bool {
	reached := make([]bool, c.Len())
	for todo := c.find(roots, reached); len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range edges[first[i]:first[i+1]] {
			if !reached[next] {
				reached[next] = true
				todo = append(todo, next)
			}
		}
	}
	return reached
}

// referrers returns the opposite of refs and first: the objects that refer to each object, sorted.
func (c *Closure) referrers() (referrers []int32, first []int) {
	first = make([]int, c.Len()+1)
	for _, ref := range c.refs {
		first[ref+1]++
	}
	for i := range c.Len() {
		first[i+1] += first[i]
	}
	next := slices.Clone(first)
	referrers = make([]int32, len(c.refs))
	for i := range c.Len() {
		for _, ref := range c.refsOf(int32(i)) {
			referrers[next[ref]] = int32(i)
			next[ref]++
		}
	}
	return referrers, first
}
