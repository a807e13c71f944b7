package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"pix/internal/parallel"
	"pix/storepath"
)

// A Walk follows references from roots, and limits how much the source of the infos may claim. All
// code that follows references in stores uses a Walk: [Closure] and its callers, [FindMissing], and
// package substitute.
//
// # Order
//
// A walk goes by distance: first the roots, then their references, then the references of those. Paths
// at the same distance are sorted. Each path comes once, also if references form a cycle:
//
//	w := store.NewWalk(dir, source, limits)
//	for paths := w.Start(roots...); len(paths) > 0; paths = w.Next() {
//		infos, err := w.Ask(ctx, paths, …)
//	}
//
// # Limits
//
// The source of the infos decides how many paths there are, so it is not trusted. Each info counts
// as soon as it arrives ([Walk.Take]). The first one that exceeds the [Limits] ends the walk with a
// [*LimitError]. With a limit of bytes, the walk keeps a copy of each info that shares no memory with
// the source. Otherwise a reference that is part of a longer text would keep the whole text in
// memory, uncounted. References in the copy are sorted, and equal paths are one string.
//
// An info for another path than the queried one is an error, and so is a reference to a path of
// another store directory.
//
// # Concurrency
//
// Ask sends many queries at once, so that a walk takes as many round trips as the closure is
// deep. Answers count only when they arrive, so Ask keeps the expected size of all outstanding answers
// below 32 MiB. It estimates the size of an answer from the last ones. After large answers it
// sends fewer queries at once, and cancels and repeats outstanding ones. The first large answers can
// exceed the 32 MiB. A walk belongs to one goroutine.
type Walk struct {
	dir    storepath.Dir
	source string // the name of the source in errors
	limits Limits
	extra  int // bytes that the caller holds for each info

	nodes map[storepath.Path]node // all paths that were found
	roots []storepath.Path
	round int32            // how often the walk was started
	next  []storepath.Path // found at the next distance

	references int
	bytes      int64 // see [Limits.Bytes]
	usual      int64 // moving average of the bytes that an info has
}

// A node is a path that was found.
type node struct {
	path  storepath.Path // in memory of the walk
	root  int32          // index of the root from which it was found first
	round int32          // in which it was found last
}

// The approximate memory of parts of a walk, in bytes.
const (
	pathBytes = 112 // a node in the map and its entry in next, without the text of the path
	infoBytes = 352 // an info without the strings and slices that it points to
	wordBytes = 16  // a string without its text
)

// inFlight is how many bytes of infos are queried at once, counted as [Limits.Bytes].
const inFlight = 32 << 20

// NewWalk returns a walk through a store directory. source names the source of the infos in errors.
// extra is how many bytes the caller itself holds for each info; they count, too.
func NewWalk(dir storepath.Dir, source string, limits Limits, extra int) *Walk {
	return &Walk{dir: dir, source: source, limits: limits, extra: extra, nodes: make(map[storepath.Path]node), round: 1}
}

// newWalk returns a walk through s for a caller that keeps the infos in a list or in a map.
func newWalk(s Store) *Walk { return NewWalk(s.Dir(), nameOf(s), LimitsOf(s), 48) }

// Start begins at the roots, and returns them, each once, in their order. A second Start begins a new
// round, in which every path comes once more. Infos that were taken before still count, and need not
// be queried again: see [Walk.Follow].
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

// Next returns the paths that were found at the next distance, sorted.
func (w *Walk) Next() []storepath.Path {
	paths := w.next
	w.next = nil
	slices.Sort(paths)
	return paths
}

// Follow enters the references of an info that was taken in an earlier round.
func (w *Walk) Follow(info *PathInfo) {
	for _, ref := range info.References {
		w.enter(ref, w.nodes[info.Path].root)
	}
}

// Take counts the info of a path, enters its references, and returns the info or the copy that the walk
// keeps: see [Walk]. A path that the walk has not found becomes a root. The error is a [*LimitError], or
// says that the source answered wrongly.
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

// sizeOf returns how many bytes of memory an info takes, without the texts of its path and references.
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

// enter enters a path that is reached from a root, unless it was already entered in this round.
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

// checkNew returns an error if a new reference is malformed, or exceeds the limits.
func (w *Walk) checkNew(source string, at node, ref storepath.Path) error {
	if _, err := w.dir.Parse(string(ref)); err != nil {
		return fmt.Errorf("a reference of '%s' in %s: %w", at.path, source, err)
	}
	return w.check(source, at)
}

// check returns a [*LimitError] if the counted paths, references or bytes exceed the limits.
func (w *Walk) check(source string, at node) error {
	if e := w.limits.Exceeded(len(w.nodes), w.references, w.bytes); e != nil {
		e.Root, e.Path, e.Source = w.roots[at.root], at.path, source
		return e
	}
	return nil
}

// An Asker queries the info of the path with an index. It returns nil if there is none. It also returns
// the name of the source for errors; "" is the name that the walk has.
type Asker func(ctx context.Context, i int) (info *PathInfo, source string, err error)

// Ask queries paths, at most atOnce of them at a time, takes the answers ([Walk.Take]) as they come, and
// returns them in the order of the paths. Ask may cancel the context of a call of ask, and then call it
// again for the same path. The first error ends Ask. If ask panics, Ask panics on the goroutine of its
// caller.
func (w *Walk) Ask(ctx context.Context, paths []storepath.Path, atOnce int, ask Asker) ([]*PathInfo, error) {
	infos := make([]*PathInfo, len(paths))
	todo := make([]int, len(paths))
	for i := range todo {
		todo[i] = i
	}
	for len(todo) > 0 {
		var err error
		if todo, err = w.askSome(ctx, paths, todo, infos, atOnce, ask); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// An answer is the result of an [Asker] for a path.
type answer struct {
	i      int
	info   *PathInfo
	source string
	err    error
}

// errTooMuch cancels the outstanding queries, since their answers may not fit into memory.
var errTooMuch = errors.New("the answers are larger than expected")

// askSome queries the paths with the indices in todo, and puts the answers into infos. If the answers
// are much larger than the earlier ones, it cancels the outstanding queries, and returns the indices
// that have no answer.
func (w *Walk) askSome(ctx context.Context, paths []storepath.Path, todo []int, infos []*PathInfo, atOnce int, ask Asker) (left []int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := parallel.Guard{Stop: cancel}
	answers := make(chan answer, atOnce)
	gaveUp := false
	for running := 0; running > 0 || len(todo) > 0 && err == nil && !gaveUp; {
		if len(todo) > 0 && err == nil && !gaveUp && running < w.questions(atOnce) {
			a := answer{i: todo[0], err: parallel.ErrEnded}
			todo, running = todo[1:], running+1
			go func() {
				defer func() { answers <- a }() // also after runtime.Goexit
				a.err = guard.Call(func() (err error) {
					a.info, a.source, err = ask(ctx, a.i)
					return err
				})
			}()
			continue
		}
		a := <-answers
		running--
		switch {
		case a.err != nil && gaveUp:
			left = append(left, a.i)
			continue
		case a.err == nil && a.info != nil:
			infos[a.i], a.err = w.takeFrom(cmp.Or(a.source, w.source), paths[a.i], a.info)
		}
		if a.err != nil && err == nil {
			err = a.err
			cancel(err)
		}
		if err == nil && !gaveUp && running > 2*w.questions(atOnce) {
			gaveUp = true
			cancel(errTooMuch)
		}
	}
	guard.Repanic()
	return append(left, todo...), err
}

// questions returns how many queries may be outstanding, at most most.
func (w *Walk) questions(most int) int {
	if w.limits.Bytes == 0 || w.usual <= inFlight/int64(most) {
		return most
	}
	return max(int(inFlight/w.usual), 1)
}

// closureQueries is how many path infos are queried at once. A connection to a daemon pipelines them, so
// they take one round trip together.
const closureQueries = 256

// askStore queries the infos of paths from s, and returns them in the order of the paths.
func (w *Walk) askStore(ctx context.Context, s Store, paths []storepath.Path) ([]*PathInfo, error) {
	q, ok := As[InfosQuerier](s)
	if !ok {
		return w.Ask(ctx, paths, closureQueries, func(ctx context.Context, i int) (*PathInfo, string, error) {
			info, err := s.QueryPathInfo(ctx, paths[i])
			if err == nil && info == nil {
				err = &NotFoundError{Path: paths[i]}
			}
			return info, "", err
		})
	}
	infos := make([]*PathInfo, 0, len(paths))
	for len(infos) < len(paths) {
		some := paths[len(infos):]
		if n := w.questions(closureQueries); n < closureQueries {
			some = some[:min(n, len(some))]
		}
		var err error
		if infos, err = w.takeAll(infos, some, q.QueryPathInfos(ctx, some)); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// takeAll takes infos of paths as they come, and appends them to dst. If they are much larger than the
// earlier ones, it returns early, because the store may already hold the next ones in memory.
func (w *Walk) takeAll(dst []*PathInfo, paths []storepath.Path, infos iter.Seq2[*PathInfo, error]) ([]*PathInfo, error) {
	n := 0
	for info, err := range infos {
		if err == nil && n == len(paths) {
			err = fmt.Errorf("%s was asked about %d paths, and has answered about more", w.source, n)
		}
		if err == nil {
			info, err = w.Take(paths[n], info)
		}
		if err != nil {
			return nil, err
		}
		dst = append(dst, info)
		if n++; min(len(paths)-n, closureQueries) > 2*w.questions(closureQueries) {
			return dst, nil
		}
	}
	if n < len(paths) {
		return nil, fmt.Errorf("%s was asked about %d paths, and has answered about %d", w.source, len(paths), n)
	}
	return dst, nil
}
