package realise

import (
	"context"

	"pix/activity"
	"pix/internal/parallel"
)

// A report sends the events of a call to the handler of its context: how many builds are expected, how many run, and
// how many have ended. A nil report sends nothing.
type report struct {
	activity.Sequencer // its lock guards the rest

	realise, builds                 activity.ID // 0 before anything is built
	done, expected, running, failed uint64
}

// newReport returns the report of a call, and a context whose handler it is. The guard calls the handler of the caller.
func newReport(ctx context.Context, guard *parallel.Guard) (context.Context, *report) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	r := &report{Sequencer: activity.NewSequencer(guard.Handler(h))}
	return activity.WithHandler(ctx, r), r
}

// expect reports that n more derivations will be built.
func (r *report) expect(n int) {
	if r == nil || n == 0 {
		return
	}
	r.Lock()
	defer r.Unlock()
	if r.realise == 0 {
		r.realise, r.builds = activity.NewID(), activity.NewID()
		r.Emit(
			activity.Start{ID: r.realise, Level: activity.LevelError, Type: activity.Realise},
			activity.Start{ID: r.builds, Level: activity.LevelError, Type: activity.Builds},
		)
	}
	r.expected += uint64(n)
	r.Emit(r.progress())
}

// began reports that a build begins.
func (r *report) began() {
	if r == nil {
		return
	}
	r.Lock()
	defer r.Unlock()
	r.running++
	r.Emit(r.progress())
}

// ended reports that a build has ended.
func (r *report) ended(ok bool) {
	if r == nil {
		return
	}
	r.Lock()
	defer r.Unlock()
	r.running--
	if ok {
		r.done++
	} else {
		r.failed++
	}
	r.Emit(r.progress())
}

// progress returns the counts of the call. Its caller holds the lock.
func (r *report) progress() activity.Event {
	return activity.Result{ID: r.builds, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(max(r.expected, r.done)), activity.Number(r.running), activity.Number(r.failed),
	}}
}

// end reports that the call has ended.
func (r *report) end() {
	switch {
	case r == nil:
	case r.realise == 0:
		r.End()
	default:
		r.End(activity.Stop{ID: r.builds}, activity.Stop{ID: r.realise})
	}
}
