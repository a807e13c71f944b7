package realise

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/internal/parallel"
	"pix/store"
)

// A claim is the interest of a call in a build. The goroutine of the call passes the events of the build to the handler
// of the call, so a slow client does not delay the others. The mutex of the build guards the fields below it.
type claim struct {
	build  *sharedBuild
	call   *call
	limits builder.Limits
	budget store.ClosureBudget // or nil
	wake   chan struct{}       // gets a value when there are events, or the claim is over

	queue            eventQueue
	over             bool  // the claim or the build has ended
	last             bool  // the build was cancelled because this claim ended
	failure          error // why the claim ended before the build
	retry            bool  // the result belongs to another claim
	shares           bool  // another claim gets the status Built
	timeout, silence *time.Timer
	unlisten         func() bool // stops watching the context of the call
}

// errExited is the result of a build whose executor has called runtime.Goexit.
var errExited = errors.New("the executor has called runtime.Goexit")

// join returns a claim of a call, or nil if the build is ending.
func (b *sharedBuild) join(c *call) *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.session.retain()
	cl := &claim{build: b, call: c, limits: c.settings.Limits, budget: store.ClosureBudgetOf(c.ctx), wake: make(chan struct{}, 1)}
	cl.queue.discard = activity.HandlerOf(c.ctx) == nil
	b.claims = append(b.claims, cl)
	b.events.replay(cl)
	if b.active {
		cl.startTimers()
	}
	cl.unlisten = context.AfterFunc(c.ctx, func() { b.leave(cl, context.Cause(c.ctx)) })
	return cl
}

// leave ends a claim before the build has ended. If it is the last claim, leave cancels the build, and the claim ends with the
// build.
func (b *sharedBuild) leave(cl *claim, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaveLocked(cl, why)
}

func (b *sharedBuild) leaveLocked(cl *claim, why error) {
	if cl.over || cl.last {
		return
	}
	cl.failure = why
	cl.stop()
	if len(b.claims) == 1 {
		cl.last, b.closed = true, true
		b.cancel(why)
	} else {
		cl.over = true
		b.claims = slices.DeleteFunc(b.claims, func(other *claim) bool { return other == cl })
		cl.queue.noteLost()
		cl.wakeUp()
	}
	b.events.space.Broadcast()
}

// startTimers begins to count the time of a claim. The lock of the build is held, here and in the other methods without
// another comment.
func (cl *claim) startTimers() {
	after := func(limit time.Duration) *time.Timer {
		if limit <= 0 {
			return nil
		}
		return time.AfterFunc(limit, func() { cl.build.leave(cl, builder.TimedOut(limit)) })
	}
	cl.timeout, cl.silence = after(cl.limits.Timeout), after(cl.limits.MaxSilentTime)
}

func (cl *claim) stopTimers() {
	for _, t := range []*time.Timer{cl.timeout, cl.silence} {
		if t != nil {
			t.Stop()
		}
	}
	cl.timeout, cl.silence = nil, nil
}

// stop stops everything that could end the claim.
func (cl *claim) stop() {
	cl.stopTimers()
	cl.unlisten()
}

func (cl *claim) wakeUp() {
	select {
	case cl.wake <- struct{}{}:
	default:
	}
}

// wait passes the events of the build to the call until the claim is over, and returns the result. If retry is set, the
// result belongs to another call, and the caller builds again. wait takes the lock of the build itself.
func (cl *claim) wait() (result *store.BuildResult, retry bool, err error) {
	b, c := cl.build, cl.call
	begun, handler := b.begun, activity.HandlerOf(c.ctx)
	for over := false; !over; {
		select {
		case <-begun:
		case <-cl.wake:
		case <-b.done:
		}
		if begun != nil && isClosed(begun) {
			c.report.began()
			begun = nil
		}
		var events []activity.Event
		events, over = cl.take()
		for _, e := range events {
			handler.HandleEvent(e)
		}
	}
	succeeded := false
	defer func() { // also after a panic of the executor
		if begun == nil {
			c.report.ended(succeeded)
		}
		cl.stopActivities(handler)
	}()
	result, retry, err = cl.result()
	succeeded = err == nil && !retry && result.Status.Succeeded()
	return result, retry, err
}

// stopActivities ends the activities of a claim that is over. As in Nix, the activity of the build ends after the call has
// counted the build. It takes the lock of the build itself.
func (cl *claim) stopActivities(h activity.Handler) {
	cl.build.mu.Lock()
	started := cl.queue.started
	cl.queue.started = nil
	cl.build.mu.Unlock()
	for _, id := range slices.Backward(started) {
		h.HandleEvent(activity.Stop{ID: id})
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// take returns the events in the queue, and whether the claim is over. It takes the lock of the build itself.
func (cl *claim) take() (events []activity.Event, over bool) {
	b := cl.build
	b.mu.Lock()
	defer b.mu.Unlock()
	events = cl.queue.take()
	b.events.space.Broadcast()
	return events, cl.over
}

// result returns the result of a claim that is over. A panic of the executor continues in the call that gets the result.
func (cl *claim) result() (result *store.BuildResult, retry bool, err error) {
	b := cl.build
	if cl.retry {
		return nil, true, nil
	}
	failure, limited := errors.AsType[*builder.Failure](cl.failure)
	if cl.failure != nil && !cl.last { // the build goes on
		if limited {
			return &store.BuildResult{Status: failure.Status, Message: failure.Message}, false, nil
		}
		return nil, false, cl.failure
	}
	if panicked, ok := errors.AsType[*parallel.PanicError](b.err); ok {
		panic(panicked)
	}
	switch {
	case b.err == errExited:
		runtime.Goexit()
	case b.err != nil && limited: // an executor that does not know the cause of its context
		return &store.BuildResult{Status: failure.Status, Message: failure.Message}, false, nil
	case b.err != nil:
		return nil, false, b.err
	}
	own := *b.result
	own.Outputs = maps.Clone(own.Outputs)
	if cl.shares && own.Status == store.Built { // as in Nix, one call has built it, and runs the hooks
		own = store.BuildResult{Status: store.AlreadyValid, DrvHash: own.DrvHash, Outputs: own.Outputs}
	}
	return &own, false, nil
}
