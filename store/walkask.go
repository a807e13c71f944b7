package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"pix/internal/parallel"
	"pix/storepath"
)

// How a walk asks about paths. What that must not do is in the comment of [Walk].

// An Asker asks about the path of an index, and returns its info, or nil if there is none, and
// the name of the source in errors; "" is the source of the walk.
type Asker func(ctx context.Context, i int) (info *PathInfo, source string, err error)

// Ask asks about paths, at most so many at once, takes the answers ([Walk.Take]) as they come, and
// returns them in the order of the paths. ask may be called again about a path if its context was
// cancelled. The first error ends it. If ask panics, so does Ask, on its own goroutine.
func (w *Walk) Ask(ctx context.Context, paths []storepath.Path, atOnce int, ask Asker) ([]*PathInfo, error) {
	atOnce = max(atOnce, 1)
	w.useBudgetOf(ctx)
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
	i        int
	info     *PathInfo
	source   string
	err      error
	acquired int64 // bytes of the budget, for a large info
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
				a.err = guard.Call(func() error { return w.askSource(ctx, &a, ask) })
			}()
			continue
		}
		a := <-answers
		running--
		w.acquired += a.acquired
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

// inFlight is how many bytes of infos are asked for at once, counted as [Limits.Bytes].
const inFlight = 32 << 20

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
	w.useBudgetOf(ctx)
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
