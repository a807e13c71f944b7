package store

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A Walk follows references outwards from roots, and counts what it is told. Whatever follows
// references in stores does it with a Walk: [Closure] and what uses that, [FindMissing], and package
// substitute.
//
// # Order
//
// A walk goes by distance: first the roots, then what they refer to, and so on. Paths at the same
// distance are sorted, each path comes once, and a path that refers to itself or back to others is
// no problem:
//
//	w := store.NewWalk(dir, source, limits, 0)
//	for paths := w.Start(roots...); len(paths) > 0; paths = w.Next() {
//		infos, err := w.Ask(ctx, paths, …)
//	}
//
// # Limits
//
// The source of the infos decides how many paths there are, so it is not trusted. Each info counts
// when it arrives ([Walk.Take]), before others of the same distance, and the first that is beyond
// the [Limits] ends the walk with a [*LimitError]. If the limits have one of bytes, the walk keeps a
// copy of each info that shares no memory with the source: a reference is often part of a longer
// text, which would stay in memory uncounted. References in that copy are sorted, and equal paths
// are one string.
//
// An info of another path than the one asked about is an error, and so is a reference to a path of
// another store directory.
//
// # Concurrency
//
// Ask sends many questions at once, so that a walk takes as many round trips as the closure is
// deep. Answers that are under way are not counted yet. So the larger the last infos were, the fewer
// questions are sent at once, and those that were sent before are given up: together the answers are
// to stay below 32 MiB. It takes a large info to notice that. A walk itself belongs to one goroutine.
type Walk struct {
	dir    storepath.Dir
	source string
	limits Limits
	extra  int // bytes that the caller holds for each info

	nodes map[storepath.Path]node // all paths that were found
	roots []storepath.Path
	round int32            // how often the walk was started
	next  []storepath.Path // what was found at the next distance

	references int
	bytes      int64         // see [Limits.Bytes]
	budget     ClosureBudget // nil if there is none
	acquired   int64         // bytes of the budget
	usual      int64         // how many bytes the infos had that came last, on average
}

// A node is a path that was found.
type node struct {
	path  storepath.Path // in memory of the walk
	root  int32          // from which it was found first
	round int32          // in which it was found last
}

// How many bytes of memory a walk takes, about, for a path without its text, and for an info without
// what it points to.
const (
	pathBytes = 112 // a node in the map, and its place in next
	infoBytes = 352
	wordBytes = 16 // a string without its text
)

// NewWalk returns a walk through a store directory. Errors call the source of the infos by that name.
// extra is how many bytes the caller itself holds for each info; they count, too.
func NewWalk(dir storepath.Dir, source string, limits Limits, extra int) *Walk {
	return &Walk{dir: dir, source: source, limits: limits, extra: extra, nodes: make(map[storepath.Path]node), round: 1}
}

// newWalk returns a walk through s. Most callers keep the infos in a list or in a map.
func newWalk(s Store) *Walk { return NewWalk(s.Dir(), nameOf(s), LimitsOf(s), 48) }

// Start begins at the roots, and returns them, each once, in their order. A walk that was started
// before forgets where it was. Infos that were taken still count; [Walk.Follow] walks on from them
// again.
func (w *Walk) Start(roots ...storepath.Path) []storepath.Path {
	w.round++
	w.next = nil
	for _, root := range roots {
		w.addRoot(root)
	}
	paths := w.next
	w.next = nil
	return paths
}

// Next returns what was found at the next distance, sorted.
func (w *Walk) Next() []storepath.Path {
	paths := w.next
	w.next = nil
	slices.Sort(paths)
	return paths
}

// Follow enters what an info refers to that was taken before the walk was started again.
func (w *Walk) Follow(info *PathInfo) {
	root := w.nodes[info.Path].root
	for _, ref := range info.References {
		w.enter(ref, root)
	}
}

// Take counts an info about a path, enters what it refers to, and returns the info as the walk keeps
// it: see [Walk]. A path that the walk has not found is a root from then on.
func (w *Walk) Take(path storepath.Path, info *PathInfo) (*PathInfo, error) {
	return w.takeFrom(w.source, path, info)
}

// takeFrom is Take for a source that errors call by another name.
func (w *Walk) takeFrom(source string, path storepath.Path, info *PathInfo) (*PathInfo, error) {
	if info == nil || info.Path != path {
		var got storepath.Path
		if info != nil {
			got = info.Path
		}
		return nil, fmt.Errorf("%s was asked about '%s', and has answered about '%s'", source, path, got)
	}
	n, found := w.nodes[path]
	if !found {
		n = w.addRoot(path)
	}
	before := w.bytes
	w.references += len(info.References)
	w.bytes += 2 * (sizeOf(info) + int64(w.extra))
	if err := w.check(source, n); err != nil { // before its references take memory
		return nil, err
	}
	copies := w.limits.Bytes > 0
	if copies {
		info = compact(info, n.path)
	}
	sorted := true
	for i, ref := range info.References {
		sorted = sorted && (i == 0 || info.References[i-1] < ref)
		paths := len(w.nodes)
		to := w.enter(ref, n.root)
		if len(w.nodes) > paths {
			if err := w.checkNew(source, n, ref); err != nil {
				return nil, err
			}
		}
		if copies {
			info.References[i] = to.path
		}
	}
	if copies && !sorted {
		slices.Sort(info.References)
		info.References = slices.Compact(info.References)
	}
	w.usual += (w.bytes - before - w.usual) / 8
	return info, nil
}

// sizeOf returns how much memory an info takes, without the texts of its path and references.
func sizeOf(info *PathInfo) int64 {
	size := infoBytes + len(info.Deriver) + wordBytes*len(info.References)
	for _, s := range info.Signatures {
		size += wordBytes + len(s)
	}
	return int64(size)
}

// compact returns a copy of an info that shares no memory with it, except the texts of its references.
func compact(info *PathInfo, path storepath.Path) *PathInfo {
	c := *info
	c.Path, c.Deriver = path, info.Deriver.Clone()
	c.References, c.Signatures = slices.Clone(info.References), slices.Clone(info.Signatures)
	for i, s := range c.Signatures {
		c.Signatures[i] = strings.Clone(s)
	}
	return &c
}

// addRoot enters a root.
func (w *Walk) addRoot(root storepath.Path) node {
	w.roots = append(w.roots, root)
	return w.enter(root, int32(len(w.roots)-1))
}

// enter enters a path that is reached from a root, unless that has happened since the walk was
// started.
func (w *Walk) enter(path storepath.Path, root int32) node {
	n, found := w.nodes[path]
	if !found {
		if w.limits.Bytes > 0 {
			path = path.Clone()
		}
		n = node{path: path, root: root}
		w.bytes += 2 * int64(pathBytes+len(path))
	}
	if n.round != w.round {
		n.round = w.round
		w.nodes[n.path] = n
		w.next = append(w.next, n.path)
	}
	return n
}

// checkNew returns an error if there is no such reference, or if it is one more than the limits allow.
func (w *Walk) checkNew(source string, at node, ref storepath.Path) error {
	if _, err := w.dir.Parse(string(ref)); err != nil {
		return fmt.Errorf("a reference of '%s' in %s: %w", at.path, source, err)
	}
	return w.check(source, at)
}

// check returns a [*LimitError] if the walk has counted more than its limits allow, or the error of
// the budget if that has too little left.
func (w *Walk) check(source string, at node) error {
	if e := w.limits.Exceeded(len(w.nodes), w.references, w.bytes); e != nil {
		e.Root, e.Path, e.Source = w.roots[at.root], at.path, source
		return e
	}
	return w.acquire()
}
