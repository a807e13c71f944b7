package localstore

import (
	"context"
	"fmt"
	"sync"

	"pix/activity"
)

// logf sends a log line to the handler in the context of a call.
func logf(ctx context.Context, format string, args ...any) {
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.Log{Text: fmt.Sprintf(format, args...)})
	}
}

// logLine returns a function that sends a log line to the handler in the context of a call.
func logLine(ctx context.Context) func(line string) {
	return func(line string) { logf(ctx, "%s", line) }
}

// A task is an activity that is reported to the handler in the context of a call. It is for one goroutine.
type task struct {
	handler activity.Handler
	id      activity.ID
}

// startTask reports the start of an activity.
func startTask(ctx context.Context, level activity.Verbosity, typ activity.Type, text string) task {
	t := task{handler: activity.HandlerOf(ctx)}
	if t.handler != nil {
		t.id = activity.NewID()
		t.handler.HandleEvent(activity.Start{ID: t.id, Level: level, Type: typ, Text: text})
	}
	return t
}

func (t task) result(typ activity.ResultType, numbers ...uint64) {
	if t.handler == nil {
		return
	}
	fields := make([]activity.Field, len(numbers))
	for i, n := range numbers {
		fields[i] = activity.Number(n)
	}
	t.handler.HandleEvent(activity.Result{ID: t.id, Type: typ, Fields: fields})
}

// progress reports how many of the expected items are done.
func (t task) progress(done, expected int) {
	t.result(activity.Progress, uint64(done), uint64(expected), 0, 0)
}

func (t task) stop() {
	if t.handler != nil {
		t.handler.HandleEvent(activity.Stop{ID: t.id})
	}
}

// An IncompleteError reports that a garbage collection or an optimisation failed for some objects or files. It succeeded
// for all others. The first 1,000 failures were reported as log lines.
type IncompleteError struct {
	Verb   string // the operation that failed: "deleted" or "linked"
	Failed int    // number of failures
	First  error  // the first failure
	Done   string // a summary of the work that was done
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

// maxReported is how many failures an operation reports. On some file systems every file of the store fails.
const maxReported = 1000

// A failureLog counts and reports the failures of an operation that continues after them. Several goroutines may use it.
type failureLog struct {
	silent bool // add counts a failure and does not report it

	mu    sync.Mutex
	count int
	first error
}

// add counts a failure and reports it to the handler of ctx. If several goroutines call add, the handler must come from
// [forGoroutines].
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
		logf(ctx, "error: %v; further errors are not printed", err)
	default:
		logf(ctx, "error: %v", err)
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

// forGoroutines returns a context whose handler several goroutines may call at the same time. It calls the handler of
// ctx from one goroutine at a time.
func forGoroutines(ctx context.Context) context.Context {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx
	}
	s := activity.NewSequencer(h)
	return activity.WithHandler(ctx, &s)
}
