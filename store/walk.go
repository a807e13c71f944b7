package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"pix/derivation"
	"pix/storepath"
)

// A Walk follows references from roots and counts the infos that it gets. All functions that
// follow references in stores use it: [Closure] and functions based on it, [FindMissing], and
// package substitute.
//
// # Order
//
// A walk proceeds by distance: first the roots, then their references, and so on. Paths at the
// same distance are sorted, and each path comes once. Self-references and cycles are allowed:
//
//	w := store.NewWalk(dir, source, limits, 0)
//	for paths := w.Start(roots...); len(paths) > 0; paths = w.Next() {
//		infos, err := w.Ask(ctx, paths, …)
//	}
//
// # Limits
//
// The source of the infos determines the number of paths, so it is not trusted. Each info is
// counted when it arrives ([Walk.Take]), before others of the same distance. The first one that
// exceeds the [Limits] ends the walk with a [*LimitError]. If the limits include one on bytes,
// the walk keeps a copy of each info that shares no memory with the source: a reference is
// often part of a longer text, which would stay in memory without being counted. In that copy
// the references are sorted, and equal paths are the same string.
//
// An info about another path than the queried one is an error. So is a reference to a path of
// another store directory.
//
// # Concurrency
//
// Ask sends many queries at a time, so a walk takes as many round trips as the closure has
// distances. Pending answers are not counted yet. So the larger the last infos were, the fewer
// queries are sent, and pending ones are cancelled: together the pending answers should stay
// below 32 MiB. Only a large info reveals this. A walk itself must be used by one goroutine.
type Walk struct {
	dir    storepath.Dir
	source string
	limits Limits
	extra  int // number of bytes that the caller holds for each info

	found nodeTable // all paths found
	roots []storepath.Path
	round int32            // number of starts
	next  []storepath.Path // paths at the next distance

	references   int
	bytes        int64         // see [Limits.Bytes]
	budget       ClosureBudget // nil if there is none
	acquired     int64         // number of bytes acquired from the budget
	averageBytes int64         // moving average of the size of an info
}

// A node is a path that was found.
type node struct {
	path  storepath.Path // in memory of the walk
	root  int32          // index of the root from which it was found first
	round int32          // round in which it was found last
}

// Approximate memory in bytes of a path without its text, and of an info without the data that
// it points to.
const (
	pathBytes = 112 // a node, its slots in the table and an element of next, each also while its list grows
	infoBytes = 352
	wordBytes = 16 // a string without its text
)

// NewWalk returns a walk through a store directory. source is the name of the source of infos
// in errors. extra is the number of bytes that the caller holds for each info, which count,
// too.
func NewWalk(dir storepath.Dir, source string, limits Limits, extra int) *Walk {
	return &Walk{dir: dir, source: source, limits: limits, extra: extra, found: newNodeTable(), round: 1}
}

// newWalk returns a walk through s. Most callers keep the infos in a list or a map, which needs
// extra memory.
func newWalk(s Store) *Walk { return NewWalk(s.Dir(), nameOf(s), LimitsOf(s), 48) }

// Start starts at the roots, and returns them without duplicates in their order. It discards
// the position of an earlier start. Counted infos still count. [Walk.Follow] continues from
// them.
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

// Next returns the paths at the next distance, sorted.
func (w *Walk) Next() []storepath.Path {
	paths := w.next
	w.next = nil
	slices.Sort(paths)
	return paths
}

// Follow adds the references of an info that was taken before the last start.
func (w *Walk) Follow(info *PathInfo) {
	root := int32(0) // if the walk has not found the path
	if n := w.found.find(info.Path); n != nil {
		root = n.root
	}
	for _, ref := range info.References {
		w.addPath(ref, root)
	}
}

// Take counts an info about a path and adds its references. It returns the info that the walk
// keeps: see [Walk]. A path that the walk has not found becomes a root.
func (w *Walk) Take(path storepath.Path, info *PathInfo) (*PathInfo, error) {
	return w.takeFrom(w.source, path, info)
}

// takeFrom is Take with another name of the source in errors.
func (w *Walk) takeFrom(source string, path storepath.Path, info *PathInfo) (*PathInfo, error) {
	if info == nil || info.Path != path {
		var got storepath.Path
		if info != nil {
			got = info.Path
		}
		return nil, fmt.Errorf("%s was asked about '%s', but answered about '%s'", source, path, got)
	}
	at := w.found.find(path)
	if at == nil {
		at = w.addRoot(path)
	}
	n := *at // adding references may move it
	before := w.bytes
	w.references += len(info.References)
	w.bytes += 2 * (sizeOf(info) + int64(w.extra))
	if err := w.checkLimits(source, n); err != nil { // before its references use memory
		return nil, err
	}
	copies := w.limits.Bytes > 0
	if copies {
		info = compact(info, n.path)
	}
	sorted := true
	for i, ref := range info.References {
		sorted = sorted && (i == 0 || info.References[i-1] < ref)
		paths := w.found.len()
		to := w.addPath(ref, n.root)
		if w.found.len() > paths {
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
	w.averageBytes += (w.bytes - before - w.averageBytes) / 8
	return info, nil
}

// sizeOf returns the memory of an info, without the texts of its path and references.
func sizeOf(info *PathInfo) int64 {
	size := infoBytes + len(info.Deriver) + wordBytes*len(info.References)
	for _, s := range info.Signatures {
		size += wordBytes + len(s)
	}
	return int64(size)
}

// compact returns a copy of an info that shares no memory with it, except the texts of its
// references.
func compact(info *PathInfo, path storepath.Path) *PathInfo {
	c := *info
	c.Path, c.Deriver = path, info.Deriver.Clone()
	c.References, c.Signatures = slices.Clone(info.References), slices.Clone(info.Signatures)
	for i, s := range c.Signatures {
		c.Signatures[i] = strings.Clone(s)
	}
	return &c
}

// addRoot adds a root.
func (w *Walk) addRoot(root storepath.Path) *node {
	w.roots = append(w.roots, root)
	return w.addPath(root, int32(len(w.roots)-1))
}

// addPath adds a path that is reached from a root, unless it was added since the last start.
func (w *Walk) addPath(path storepath.Path, root int32) *node {
	n := w.found.find(path)
	if n == nil {
		if w.limits.Bytes > 0 {
			path = path.Clone()
		}
		n = w.found.add(node{path: path, root: root})
		w.bytes += 2 * int64(pathBytes+len(path))
	}
	if n.round != w.round {
		n.round = w.round
		w.next = append(w.next, n.path)
	}
	return n
}

// checkNew returns an error if a reference is invalid or exceeds the limits.
func (w *Walk) checkNew(source string, at node, ref storepath.Path) error {
	if _, err := w.dir.Parse(string(ref)); err != nil {
		return fmt.Errorf("a reference of '%s' in %s: %w", at.path, source, err)
	}
	return w.checkLimits(source, at)
}

// checkLimits returns a [*LimitError] if the walk exceeds its limits, or the error of an
// exhausted budget.
func (w *Walk) checkLimits(source string, at node) error {
	if e := w.limits.Exceeded(w.found.len(), w.references, w.bytes); e != nil {
		e.Root, e.Path, e.Source = w.roots[at.root], at.path, source
		return e
	}
	return w.acquireMemory()
}

// Closure returns an iterator over the path infos of the closure of the roots. Each path comes
// once: first the roots in their order, then their references, and so on. Paths at the same
// distance are sorted, so the order is always the same. Closure takes as many round trips as
// there are distances, and one more for every 16,384 paths at a distance. It holds only
// the infos of these, and all paths.
//
// An error is the last pair: a [*NotFoundError] if a path is not valid, a [*LimitError] if the
// closure exceeds the [Limits] of s, or an error of the store. The loop may use the same store.
// If the store panics on another goroutine, the iterator panics on the caller's, with a
// [*PanicError].
func Closure(ctx context.Context, s Store, roots ...storepath.Path) iter.Seq2[*PathInfo, error] {
	return func(yield func(*PathInfo, error) bool) {
		err := newWalk(s).each(ctx, s, roots, func(info *PathInfo) bool { return yield(info, nil) })
		if err != nil {
			yield(nil, err)
		}
	}
}

// each calls use with the infos of the closure of the roots in s, in the order of [Closure], until
// it returns false.
func (w *Walk) each(ctx context.Context, s Store, roots []storepath.Path, use func(*PathInfo) bool) error {
	ask, end := w.openAsker(ctx, s)
	defer end()
	for paths := w.Start(roots...); len(paths) > 0; paths = w.Next() {
		for some := range slices.Chunk(paths, closureChunk) {
			infos, err := ask(ctx, some)
			if err != nil {
				return err
			}
			for _, info := range infos {
				if !use(info) {
					return nil
				}
			}
		}
	}
	return nil
}

// closureChunk is the number of paths whose infos [Closure] queries at a time. The infos take
// some megabytes. They may be nearly all infos of a closure, because most paths of a large one
// may be at the same distance.
const closureChunk = 1 << 14

// PathInfos returns the path infos of paths, in their order, in about one round trip: see
// [InfosQuerier]. The error is a [*NotFoundError] if one is not valid, or a [*LimitError] as
// for [Closure].
func PathInfos(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	w := newWalk(s)
	w.Start(paths...)
	ask, end := w.openAsker(ctx, s)
	defer end()
	return ask(ctx, paths)
}

// Limits limit the size of a closure: see [derivation.Limits]. [Closure] and functions based on
// it apply the limits that [LimitsOf] returns. To change them, wrap the store:
//
//	limits := store.LimitsOf(s)
//	limits.Paths *= 4
//	s = store.WithLimits(s, limits)
type Limits = derivation.Limits

// A LimitError reports a closure that exceeds the [Limits] of the store.
type LimitError = derivation.LimitError

// A Limiter is a [Store] with its own limits.
type Limiter interface {
	// ClosureLimits returns the limits, and the store for which they apply, which is the
	// receiver. A struct that embeds a Limiter inherits this method, but may return other
	// infos. The limits do not apply to it, because it is not the returned store.
	ClosureLimits() (Limits, Store)
}

// LimitsOf returns the limits of s if it is a [Limiter], otherwise [derivation.ForeignLimits].
// A wrapper with an Unwrap method does not inherit the limits of the wrapped store, because it
// may return other infos.
func LimitsOf(s Store) Limits {
	if l, ok := s.(Limiter); ok {
		if limits, of := l.ClosureLimits(); of == s {
			return limits
		}
	}
	return derivation.ForeignLimits()
}

// WithLimits returns s with other limits.
func WithLimits(s Store, limits Limits) Store { return &limitedStore{s, limits} }

type limitedStore struct {
	Store
	limits Limits
}

func (s *limitedStore) Unwrap() Store { return s.Store }

// ClosureLimits implements [Limiter].
func (s *limitedStore) ClosureLimits() (Limits, Store) { return s.limits, s }

// nameOf returns the name of a store for error messages.
func nameOf(s Store) string {
	if limited, ok := s.(*limitedStore); ok {
		s = limited.Store
	}
	if named, ok := As[interface{ URI() string }](s); ok {
		return "'" + named.URI() + "'"
	}
	return fmt.Sprintf("a store of type %T", s)
}
