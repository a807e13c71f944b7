package store

import "context"

// A ClosureBudget bounds the memory of all calls together that follow references. [Limits] bound each call.
// A program that serves many clients needs both. Its methods may be called on any goroutine.
type ClosureBudget interface {
	// AcquireClosure is called before a closure holds that many bytes more, counted as [Limits.Bytes]
	// counts. Its error ends the call. When the call has returned, it holds them no longer.
	AcquireClosure(bytes int64) error

	// AskSource calls ask, which gets one info from a source, once few enough other questions are under
	// way. The info may be large, and it counts only when it is there. ask does not call AskSource.
	AskSource(ctx context.Context, ask func() error) error
}

type closureBudgetKey struct{}

// WithClosureBudget returns a context in which [Closure] and its callers, [FindMissing], and the methods of
// stores that follow references in the same way use a budget.
func WithClosureBudget(ctx context.Context, b ClosureBudget) context.Context {
	return context.WithValue(ctx, closureBudgetKey{}, b)
}

// closureStep is how many bytes a walk acquires at once.
const closureStep = 256 << 10

// useBudgetOf makes the walk use the budget of a context.
func (w *Walk) useBudgetOf(ctx context.Context) {
	w.budget, _ = ctx.Value(closureBudgetKey{}).(ClosureBudget)
}

// acquire acquires the memory that the walk has counted.
func (w *Walk) acquire() error {
	if w.budget == nil || w.bytes <= w.acquired {
		return nil
	}
	n := max(w.bytes-w.acquired, closureStep)
	if err := w.budget.AcquireClosure(n); err != nil {
		return err
	}
	w.acquired += n
	return nil
}

// askSource asks about one path. With a budget it acquires the memory of a large info, which may wait to
// be taken, and of the copy that the walk then makes. It may be called on any goroutine.
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
