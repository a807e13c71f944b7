package localstore

import (
	"context"
	"fmt"
	"sync"

	"pix/activity"
)

// An IncompleteError says that maintenance of a store could not do its work on some objects or files. It
// has done it on all others. The failures, or the first 1,000 of them, were reported as log lines.
type IncompleteError struct {
	Verb   string // what could not be done with some: "deleted" or "linked"
	Failed int    // how many failures there were
	First  error  // the first of them
	Done   string // what was done
}

func (e *IncompleteError) Error() string {
	which := "1 object or file"
	if e.Failed > 1 {
		which = fmt.Sprintf("%d objects or files", e.Failed)
	}
	return fmt.Sprintf("%s could not be %s: %v (%s)", which, e.Verb, e.First, e.Done)
}

// Unwrap returns the first failure.
func (e *IncompleteError) Unwrap() error { return e.First }

// maxReported is how many failures an operation reports. On some file systems it fails for each file of the
// store.
const maxReported = 1000

// A failureLog counts and reports the failures of an operation that goes on after them. Any number of goroutines may
// use it.
type failureLog struct {
	silent bool // add reports no failure

	mu    sync.Mutex
	count int
	first error
}

// add counts a failure and reports it to the handler of ctx, which must be one for many goroutines (see
// [forGoroutines]) if they share it.
func (f *failureLog) add(ctx context.Context, err error) {
	f.mu.Lock()
	f.count++
	count := f.count
	if f.first == nil {
		f.first = err
	}
	f.mu.Unlock()
	switch {
	case f.silent || count > maxReported:
	case count == maxReported:
		say(ctx, "error: %v; further errors are not printed", err)
	default:
		say(ctx, "error: %v", err)
	}
}

// result returns an [*IncompleteError] if there were failures.
func (f *failureLog) result(verb, done string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return nil
	}
	return &IncompleteError{Verb: verb, Failed: f.count, First: f.first, Done: done}
}

// forGoroutines returns a context with the handler of ctx, which several goroutines may call at once.
func forGoroutines(ctx context.Context) context.Context {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx
	}
	s := activity.NewSequencer(h)
	return activity.WithHandler(ctx, &s)
}
