package closure

import (
	"slices"

	"pix/store"
	"pix/storepath"
)

// Sorted returns the paths in dependency order: each after the paths that it refers to. It is the order of
// [store.SortByReferences]. The error is a [*store.ReferenceCycleError].
func (c *Closure) Sorted() ([]storepath.Path, error) {
	order, err := c.sorted()
	if err != nil {
		return nil, err
	}
	return c.pathsOf(order), nil
}

// sorted returns the indexes of all objects in dependency order.
func (c *Closure) sorted() ([]int32, error) {
	all := make([]int32, c.Len())
	for i := range all {
		all[i] = int32(i)
	}
	return c.newSorter().sort(all)
}

// A sorter sorts objects by their references, as [store.SortByReferences] does.
type sorter struct {
	*Closure
	state []sortState // by index
	next  []int       // by index; how many references, or candidates for them, were visited
	stack []int32
}

type sortState uint8

const (
	excluded sortState = iota // not among the objects to be sorted
	unseen
	entered
	placed
)

func (c *Closure) newSorter() *sorter {
	return &sorter{Closure: c, state: make([]sortState, c.Len()), next: make([]int, c.Len())}
}

// sort returns the objects, which are in the order of their paths, so that each comes after its references among
// them. The error is a [*store.ReferenceCycleError].
func (s *sorter) sort(objects []int32) ([]int32, error) {
	for _, i := range objects {
		s.state[i], s.next[i] = unseen, 0
	}
	defer func() {
		for _, i := range objects {
			s.state[i] = excluded
		}
	}()
	order := make([]int32, 0, len(objects))
	for _, start := range objects {
		if s.state[start] != unseen {
			continue
		}
		// Closures can be deep, so this is not recursive.
		for s.stack = append(s.stack[:0], start); len(s.stack) > 0; {
			top := s.stack[len(s.stack)-1]
			s.state[top] = entered
			ref, ok := s.nextReference(top, objects)
			if !ok {
				s.state[top] = placed
				order = append(order, top)
				s.stack = s.stack[:len(s.stack)-1]
				continue
			}
			switch s.state[ref] {
			case unseen:
				s.stack = append(s.stack, ref)
			case entered:
				return nil, &store.ReferenceCycleError{Path: s.paths[ref], From: s.paths[top]}
			}
		}
	}
	return order, nil
}

// nextReference returns the next reference of an object. If the object has many more references than there are objects to be
// sorted, it returns only the references to these. Otherwise a reverse tree, which sorts the few referrers of each object,
// would visit the references of an object with many again and again: for 100,000 objects in groups of 1,000, it took ten
// times as long.
func (s *sorter) nextReference(object int32, objects []int32) (ref int32, ok bool) {
	refs := s.refsOf(object)
	candidates, few := refs, len(objects)*16 < len(refs)
	if few {
		candidates = objects
	}
	for s.next[object] < len(candidates) {
		ref = candidates[s.next[object]]
		s.next[object]++
		if few {
			if _, ok = slices.BinarySearch(refs, ref); !ok {
				continue
			}
		}
		return ref, true
	}
	return 0, false
}

// Cycles returns the sets of several paths that all refer to each other, directly or indirectly. The sets are
// sorted by their first path, and each set is sorted. A valid store has none.
func (c *Closure) Cycles() [][]storepath.Path {
	t := &cycleFinder{Closure: c, number: make([]int32, c.Len()), low: make([]int32, c.Len()), next: slices.Clone(c.first[:c.Len()])}
	for i := range c.Len() {
		if t.number[i] == 0 {
			t.visit(int32(i))
		}
	}
	slices.SortFunc(t.cycles, slices.Compare)
	return t.cycles
}

// A cycleFinder finds the strongly connected components of a closure, with the algorithm of Tarjan.
type cycleFinder struct {
	*Closure
	number []int32 // by index, in the order of visits; 0 before the visit, componentDone when its component is known
	low    []int32 // the lowest number of an open object that is reachable
	next   []int   // the next reference to visit
	count  int32
	open   []int32 // visited objects whose component is not known
	cycles [][]storepath.Path
}

const componentDone = -1

// visit visits an object and the objects that it refers to. It keeps its own stack, because a closure may be deeper
// than the stack of a goroutine.
func (t *cycleFinder) visit(start int32) {
	for stack := []int32{start}; len(stack) > 0; {
		top := stack[len(stack)-1]
		if t.number[top] == 0 {
			t.count++
			t.number[top], t.low[top] = t.count, t.count
			t.open = append(t.open, top)
		}
		if t.next[top] < t.first[top+1] {
			ref := t.refs[t.next[top]]
			t.next[top]++
			if t.number[ref] == 0 {
				stack = append(stack, ref)
			} else if t.number[ref] != componentDone {
				t.low[top] = min(t.low[top], t.number[ref])
			}
			continue
		}
		stack = stack[:len(stack)-1]
		if len(stack) > 0 {
			parent := stack[len(stack)-1]
			t.low[parent] = min(t.low[parent], t.low[top])
		}
		if t.low[top] == t.number[top] {
			t.close(top)
		}
	}
}

// close ends the component that begins with an object.
func (t *cycleFinder) close(first int32) {
	at := len(t.open) - 1
	for t.open[at] != first {
		at--
	}
	component := t.open[at:]
	t.open = t.open[:at]
	for _, i := range component {
		t.number[i] = componentDone
	}
	if len(component) > 1 {
		slices.Sort(component)
		t.cycles = append(t.cycles, t.pathsOf(component))
	}
}
