package closure

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"pix/store"
	"pix/storepath"
)

// A Closure is a set of path infos that contains every path that one of them refers to.
type Closure struct {
	infos []*store.PathInfo // sorted by path
	index map[storepath.Path]int32
	refs  [][]int32 // the indexes of the references of each path, except itself
}

// Load returns the closure of the roots in s. As for [store.Closure], the error is a
// [*store.NotFoundError] if a path is not valid, or a [*store.LimitError] if the closure is larger than the
// limits of s.
func Load(ctx context.Context, s store.Store, roots ...storepath.Path) (*Closure, error) {
	var infos []*store.PathInfo
	for info, err := range store.Closure(ctx, s, roots...) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return newClosure(infos)
}

// New returns the closure of these infos. The error is a [*MissingError] if one of them refers to a path that is
// not among them. It keeps the infos, which must not change afterwards.
func New(infos []*store.PathInfo) (*Closure, error) { return newClosure(slices.Clone(infos)) }

// A MissingError says that a path is referred to and not in the closure.
type MissingError struct {
	Path, Referrer storepath.Path
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("'%s' refers to '%s', which is not in the closure", e.Referrer, e.Path)
}

// newClosure sorts infos and takes ownership of the slice.
func newClosure(infos []*store.PathInfo) (*Closure, error) {
	slices.SortFunc(infos, comparePaths)
	infos = slices.CompactFunc(infos, func(a, b *store.PathInfo) bool { return a.Path == b.Path })
	c := &Closure{
		infos: infos,
		index: make(map[storepath.Path]int32, len(infos)),
		refs:  make([][]int32, len(infos)),
	}
	n := 0
	for i, info := range infos {
		c.index[info.Path] = int32(i)
		n += len(info.References)
	}
	all := make([]int32, 0, n) // one array for all references, instead of one for each path
	for i, info := range infos {
		first := len(all)
		for _, ref := range info.References {
			at, ok := c.index[ref]
			if !ok {
				return nil, &MissingError{ref, info.Path}
			}
			if int(at) != i {
				all = append(all, at)
			}
		}
		c.refs[i] = all[first:len(all):len(all)]
	}
	return c, nil
}

func comparePaths(a, b *store.PathInfo) int { return cmp.Compare(a.Path, b.Path) }

// Len returns the number of paths.
func (c *Closure) Len() int { return len(c.infos) }

// Get returns the info of a path, and whether the path is in the closure.
func (c *Closure) Get(path storepath.Path) (*store.PathInfo, bool) {
	i, ok := c.index[path]
	if !ok {
		return nil, false
	}
	return c.infos[i], true
}

// All returns an iterator over the infos, sorted by path.
func (c *Closure) All() iter.Seq2[storepath.Path, *store.PathInfo] {
	return func(yield func(storepath.Path, *store.PathInfo) bool) {
		for _, info := range c.infos {
			if !yield(info.Path, info) {
				return
			}
		}
	}
}

// Paths returns the paths, sorted.
func (c *Closure) Paths() []storepath.Path {
	paths := make([]storepath.Path, len(c.infos))
	for i, info := range c.infos {
		paths[i] = info.Path
	}
	return paths
}

// Sorted returns the infos in dependency order: each after the infos that it refers to. The error is a
// [*store.ReferenceCycleError].
func (c *Closure) Sorted() ([]*store.PathInfo, error) { return store.SortByReferences(c.infos) }

// Of returns the closure of some of the paths. Roots that are not in c are ignored.
func (c *Closure) Of(roots ...storepath.Path) *Closure {
	reached := c.reach(roots...)
	infos := make([]*store.PathInfo, 0, len(reached))
	for i, info := range c.infos {
		if reached[i] {
			infos = append(infos, info)
		}
	}
	sub, _ := newClosure(infos) // no reference is missing
	return sub
}

// reach returns for each index whether the path is in the closure of the roots.
func (c *Closure) reach(roots ...storepath.Path) []bool {
	reached := make([]bool, len(c.infos))
	var todo []int32
	visit := func(i int32) {
		if !reached[i] {
			reached[i] = true
			todo = append(todo, i)
		}
	}
	for _, root := range roots {
		if i, ok := c.index[root]; ok {
			visit(i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, ref := range c.refs[i] {
			visit(ref)
		}
	}
	return reached
}
