package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/internal/parallel"
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
//	w := store.NewWalk(dir, source, limits)
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
	bytes      int64 // see [Limits.Bytes]
	usual      int64 // how many bytes an info has, of those that came last above all
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

// inFlight is how many bytes of infos are asked for at once, counted as [Limits.Bytes].
const inFlight = 32 << 20

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
	for _, ref := range info.References {
		w.enter(ref, w.nodes[info.Path].root)
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

// check returns a [*LimitError] if what was counted is too much.
func (w *Walk) check(source string, at node) error {
	if e := w.limits.Exceeded(len(w.nodes), w.references, w.bytes); e != nil {
		e.Root, e.Path, e.Source = w.roots[at.root], at.path, source
		return e
	}
	return nil
}

// An Asker asks about the path of an index, and returns what is known of it, or nil if nothing is, and
// what errors call the source; "" is that of the walk.
type Asker func(ctx context.Context, i int) (info *PathInfo, source string, err error)

// Ask asks about paths, at most so many at once, takes the answers ([Walk.Take]) as they come, and
// returns them in the order of the paths. ask may be called again about a path if its context was
// cancelled. The first error ends it. If ask panics, so does Ask, on its own goroutine.
func (w *Walk) Ask(ctx context.Context, paths []storepath.Path, atOnce int, ask Asker) ([]*PathInfo, error) {
	infos := make([]*PathInfo, len(paths))
	for todo := indices(len(paths)); len(todo) > 0; {
		var err error
		if todo, err = w.askSome(ctx, paths, todo, infos, atOnce, ask); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// An answer is what an [Asker] has returned about a path.
type answer struct {
	i      int
	info   *PathInfo
	source string
	err    error
}

// errTooMuch ends the questions that are under way, since their answers may not fit into memory.
var errTooMuch = errors.New("the answers are larger than expected")

// askSome asks about the paths of some indices, and enters the answers into infos. When these turn out
// to be much larger than those before, it gives up the questions that are under way, and returns the
// indices that are left.
func (w *Walk) askSome(ctx context.Context, paths []storepath.Path, todo []int, infos []*PathInfo, atOnce int, ask Asker) (left []int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := parallel.Guard{Stop: cancel}
	answers := make(chan answer, atOnce)
	gaveUp := false
	for running := 0; running > 0 || len(todo) > 0 && err == nil && !gaveUp; {
		if len(todo) > 0 && err == nil && !gaveUp && running < w.firstQuestions(atOnce) {
			a := answer{i: todo[0], err: parallel.ErrEnded}
			todo, running = todo[1:], running+1
			go func() {
				defer func() { answers <- a }() // also if the goroutine is ended
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

// questions returns how many questions may be under way if there may be no more than most.
func (w *Walk) questions(most int) int {
	if w.limits.Bytes == 0 || w.usual <= inFlight/int64(most) {
		return most
	}
	return max(int(inFlight/w.usual), 1)
}

// firstQuestions is [Walk.questions], but few as long as no info has come that says how large they are.
func (w *Walk) firstQuestions(most int) int {
	const few = 32
	if w.limits.Bytes > 0 && w.usual == 0 {
		return min(most, few)
	}
	return w.questions(most)
}

// closureQueries is how many path infos are asked for at once. A connection to a daemon
// sends them one behind the other and so waits once, not for each.
const closureQueries = 256

// open returns a function that asks s about paths, and returns what it knows of them, in their order,
// until end is called.
func (w *Walk) open(ctx context.Context, s Store) (ask func(context.Context, []storepath.Path) ([]*PathInfo, error), end func()) {
	if o, ok := As[ClosureOpener](s); ok {
		many, end := o.OpenClosure(ctx)
		return func(ctx context.Context, paths []storepath.Path) ([]*PathInfo, error) {
			return w.askMany(ctx, paths, many)
		}, end
	}
	if q, ok := As[InfosQuerier](s); ok {
		return func(ctx context.Context, paths []storepath.Path) ([]*PathInfo, error) {
			return w.askMany(ctx, paths, inOrder(q))
		}, func() {}
	}
	return func(ctx context.Context, paths []storepath.Path) ([]*PathInfo, error) {
		return w.Ask(ctx, paths, closureQueries, func(ctx context.Context, i int) (*PathInfo, string, error) {
			info, err := s.QueryPathInfo(ctx, paths[i])
			if err == nil && info == nil {
				err = &NotFoundError{Path: paths[i]}
			}
			return info, "", err
		})
	}, func() {}
}

// inOrder returns what asks a store that answers in the order of the paths.
func inOrder(q InfosQuerier) InfosAsker {
	return func(ctx context.Context, paths []storepath.Path, take func(i int, info *PathInfo) error) error {
		i := 0
		for info, err := range q.QueryPathInfos(ctx, paths) {
			if err == nil {
				err = take(i, info)
			}
			if err != nil {
				return err
			}
			i++
		}
		return nil
	}
}

// askMany asks a store about paths that answers about many at once, and returns the answers in the
// order of the paths. When they turn out to be much larger than those before, it gives up the others
// and asks about fewer at once, since the store may hold some that come next.
func (w *Walk) askMany(ctx context.Context, paths []storepath.Path, ask InfosAsker) ([]*PathInfo, error) {
	infos := make([]*PathInfo, len(paths))
	for todo := indices(len(paths)); len(todo) > 0; {
		some := todo
		if n := w.questions(closureQueries); 2*n < closureQueries {
			some = todo[:min(n, len(todo))]
		}
		asked := make([]storepath.Path, len(some))
		for i, at := range some {
			asked[i] = paths[at]
		}
		left := len(some)
		err := ask(ctx, asked, func(i int, info *PathInfo) (err error) {
			if i < 0 || i >= len(some) || infos[some[i]] != nil {
				return fmt.Errorf("%s was asked about %d paths, and has answered about others", w.source, len(some))
			}
			if infos[some[i]], err = w.Take(asked[i], info); err != nil {
				return err
			}
			if left--; min(left, closureQueries) > 2*w.questions(closureQueries) {
				return errTooMuch
			}
			return nil
		})
		if err == nil && left > 0 {
			err = fmt.Errorf("%s was asked about %d paths, and has answered about %d", w.source, len(some), len(some)-left)
		}
		if err != nil && !errors.Is(err, errTooMuch) {
			return nil, err
		}
		todo = slices.DeleteFunc(todo, func(at int) bool { return infos[at] != nil })
	}
	return infos, nil
}

// indices returns the numbers from 0 to n-1.
func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
