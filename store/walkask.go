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

// Queries of a walk. The comment of [Walk] describes their limits.

// An Asker queries the path with an index. It returns the info, or nil if there is none, and
// the name of the source for errors. "" means the source of the walk.
type Asker func(ctx context.Context, i int) (info *PathInfo, source string, err error)

// Ask queries paths, at most atOnce at a time. It takes the answers ([Walk.Take]) as they come,
// and returns them in the order of the paths. ask may be called again for a path if its context
// was cancelled. The first error ends Ask. If ask panics, so does Ask, on its own goroutine.
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

// An answer is the result of an [Asker].
type answer struct {
	i        int
	info     *PathInfo
	source   string
	err      error
	acquired int64 // number of bytes acquired from the budget for a large info
}

// errTooMuch cancels pending queries, since their answers may not fit into memory.
var errTooMuch = errors.New("the answers are larger than expected")

// askSome queries the paths with some indices, and stores the answers in infos. If these turn
// out to be much larger than expected, it cancels the pending queries, and returns the indices
// that are left.
func (w *Walk) askSome(ctx context.Context, paths []storepath.Path, todo []int, infos []*PathInfo, atOnce int, ask Asker) (left []int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := parallel.Guard{Stop: cancel}
	answers := make(chan answer, atOnce)
	gaveUp := false
	for running := 0; running > 0 || len(todo) > 0 && err == nil && !gaveUp; {
		if len(todo) > 0 && err == nil && !gaveUp && running < w.maxFirstQueries(atOnce) {
			a := answer{i: todo[0], err: parallel.ErrEnded}
			todo, running = todo[1:], running+1
			go func() {
				defer func() { answers <- a }() // also if ask calls runtime.Goexit
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
		if err == nil && !gaveUp && running > 2*w.maxQueries(atOnce) {
			gaveUp = true
			cancel(errTooMuch)
		}
	}
	guard.Repanic()
	return append(left, todo...), err
}

// maxPendingBytes limits the size of the pending infos, counted as in [Limits.Bytes].
const maxPendingBytes = 32 << 20

// maxQueries returns the number of queries that may be pending, at most most.
func (w *Walk) maxQueries(most int) int {
	if w.limits.Bytes == 0 || w.averageBytes <= maxPendingBytes/int64(most) {
		return most
	}
	return max(int(maxPendingBytes/w.averageBytes), 1)
}

// maxFirstQueries is [Walk.maxQueries], but few until the first info shows how large infos are.
func (w *Walk) maxFirstQueries(most int) int {
	const few = 32
	if w.limits.Bytes > 0 && w.averageBytes == 0 {
		return min(most, few)
	}
	return w.maxQueries(most)
}

// closureQueries is the number of concurrent queries for path infos. A connection to a daemon
// pipelines them, so that all take one round trip.
const closureQueries = 256

// openAsker returns a function that queries path infos of s, in the order of the paths. It may
// be used until end is called.
func (w *Walk) openAsker(ctx context.Context, s Store) (ask func(context.Context, []storepath.Path) ([]*PathInfo, error), end func()) {
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

// inOrder returns an InfosAsker for a store that answers in the order of the paths.
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

// askMany queries a store that answers many queries at a time, and returns the answers in the
// order of the paths. If these turn out to be much larger than expected, it cancels the others
// and continues with fewer at a time, since the store may hold some of the next ones.
func (w *Walk) askMany(ctx context.Context, paths []storepath.Path, ask InfosAsker) ([]*PathInfo, error) {
	w.useBudgetOf(ctx)
	infos := make([]*PathInfo, len(paths))
	for todo := indices(len(paths)); len(todo) > 0; {
		some := todo
		if n := w.maxQueries(closureQueries); 2*n < closureQueries {
			some = todo[:min(n, len(todo))]
		}
		asked := make([]storepath.Path, len(some))
		for i, at := range some {
			asked[i] = paths[at]
		}
		left := len(some)
		err := ask(ctx, asked, func(i int, info *PathInfo) (err error) {
			if i < 0 || i >= len(some) || infos[some[i]] != nil {
				return fmt.Errorf("%s was asked about %d paths, but answered about others", w.source, len(some))
			}
			if infos[some[i]], err = w.Take(asked[i], info); err != nil {
				return err
			}
			if left--; min(left, closureQueries) > 2*w.maxQueries(closureQueries) {
				return errTooMuch
			}
			return nil
		})
		if err == nil && left > 0 {
			err = fmt.Errorf("%s was asked about %d paths, but answered about %d", w.source, len(some), len(some)-left)
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

// A ClosureBudget limits the memory of all calls together that follow references. [Limits]
// limit each call. A program that serves many clients needs both. Its methods may be called on
// any goroutine.
type ClosureBudget interface {
	// AcquireClosure is called before a closure holds more bytes, counted as in [Limits.Bytes].
	// An error ends the call. When the call has returned, it no longer holds them.
	AcquireClosure(bytes int64) error

	// AskSource calls ask, which queries one info from a source, when few enough other queries
	// are pending. The info may be large, and is counted only when it has arrived. ask does not
	// call AskSource.
	AskSource(ctx context.Context, ask func() error) error
}

type closureBudgetKey struct{}

// WithClosureBudget returns a context with a budget for [Closure], functions based on it,
// [FindMissing], and methods of stores that follow references in the same way.
func WithClosureBudget(ctx context.Context, b ClosureBudget) context.Context {
	return context.WithValue(ctx, closureBudgetKey{}, b)
}

// ClosureBudgetOf returns the budget of a context, or nil.
func ClosureBudgetOf(ctx context.Context) ClosureBudget {
	b, _ := ctx.Value(closureBudgetKey{}).(ClosureBudget)
	return b
}

// budgetStep is the smallest number of bytes that a walk acquires at a time.
const budgetStep = 256 << 10

// useBudgetOf makes the walk use the budget of a context.
func (w *Walk) useBudgetOf(ctx context.Context) {
	w.budget = ClosureBudgetOf(ctx)
}

// acquireMemory acquires the memory that the walk has counted.
func (w *Walk) acquireMemory() error {
	if w.budget == nil || w.bytes <= w.acquired {
		return nil
	}
	n := max(w.bytes-w.acquired, budgetStep)
	if err := w.budget.AcquireClosure(n); err != nil {
		return err
	}
	w.acquired += n
	return nil
}

// askSource queries one path. With a budget it acquires the memory of a large info that waits
// to be taken, and of the copy that the walk makes. It may be called on any goroutine.
func (w *Walk) askSource(ctx context.Context, a *answer, ask Asker) (err error) {
	if w.budget == nil {
		a.info, a.source, err = ask(ctx, a.i)
		return err
	}
	return w.budget.AskSource(ctx, func() error {
		if a.info, a.source, err = ask(ctx, a.i); err != nil || a.info == nil {
			return err
		}
		const large = 32 << 10
		n := sizeOf(a.info)
		if n <= large {
			return nil
		}
		for _, ref := range a.info.References {
			n += int64(len(ref))
		}
		if err := w.budget.AcquireClosure(4 * n); err != nil {
			a.info = nil
			return err
		}
		a.acquired = 4 * n
		return nil
	})
}
