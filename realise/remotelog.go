package realise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pix/activity"
	"pix/builder"
	"pix/store"
	"pix/storepath"
)

// A remoteLog handles the events of a build on another machine. The lines and phases of the build belong to an activity of
// this process; other activities of the machine are not reported. It ends the build at a limit.
type remoteLog struct {
	handler activity.Handler // of the call; may be nil
	file    io.Writer
	limits  builder.Limits
	cancel  context.CancelCauseFunc
	id      activity.ID

	mu      sync.Mutex
	size    uint64
	cause   error       // the limit that was reached
	timeout *time.Timer // these are nil without a limit
	silent  *time.Timer
	stalled *time.Timer // not nil during a copy
}

// The limits that end a build.
var (
	errTimeout  = errors.New("the build takes too long")
	errSilent   = errors.New("the build prints nothing")
	errLogLimit = errors.New("the log is too large")
)

// errStalled is the error of a machine that does not answer during a copy.
var errStalled = fmt.Errorf("no progress for %v", stallLimit)

// stallLimit is how long a copy may make no progress.
const stallLimit = 5 * time.Minute

// newRemoteLog returns the log of a build, and the context of the build, whose handler passes the events of copies on.
func newRemoteLog(ctx context.Context, e *elsewhere, file io.Writer) (context.Context, *remoteLog) {
	l := &remoteLog{handler: activity.HandlerOf(ctx), file: file, limits: e.limits, id: activity.NewID()}
	ctx, l.cancel = context.WithCancelCause(ctx)
	after := func(limit time.Duration, cause error) *time.Timer {
		if limit <= 0 {
			return nil
		}
		return time.AfterFunc(limit, func() { l.stop(cause) })
	}
	l.timeout, l.silent = after(e.limits.Timeout, errTimeout), after(e.limits.MaxSilentTime, errSilent)
	return activity.WithHandler(ctx, activity.HandlerFunc(func(event activity.Event) {
		l.touch()
		l.emit(event)
	})), l
}

// stop ends the build because of a limit.
func (l *remoteLog) stop(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.cause = cause
	}
	l.cancel(cause)
}

func (l *remoteLog) emit(e activity.Event) {
	if l.handler != nil {
		l.handler.HandleEvent(e)
	}
}

// touch notes that the machine is alive.
func (l *remoteLog) touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent != nil {
		l.silent.Reset(l.limits.MaxSilentTime)
	}
	if l.stalled != nil {
		l.stalled.Reset(stallLimit)
	}
}

// begin reports that the build begins.
func (l *remoteLog) begin(drv storepath.Path, machine string) {
	l.emit(activity.Start{
		ID: l.id, Level: activity.LevelInfo, Type: activity.Build, Text: fmt.Sprintf("building '%s' on '%s'", drv, machine),
		Fields: []activity.Field{activity.Text(string(drv)), activity.Text(machine), activity.Number(1), activity.Number(1)},
	})
}

// end reports that the build has ended.
func (l *remoteLog) end() {
	l.mu.Lock()
	for _, t := range []*time.Timer{l.timeout, l.silent, l.stalled} {
		if t != nil {
			t.Stop()
		}
	}
	l.mu.Unlock()
	l.cancel(nil)
	l.emit(activity.Stop{ID: l.id})
}

// copying reports a copy, which must make progress until the returned function is called.
func (l *remoteLog) copying(text string) (end func()) {
	id := activity.NewID()
	l.mu.Lock()
	l.stalled = time.AfterFunc(stallLimit, func() { l.cancel(errStalled) })
	l.mu.Unlock()
	l.emit(activity.Start{ID: id, Level: activity.LevelTalkative, Text: text, Parent: l.id})
	return func() {
		l.mu.Lock()
		l.stalled.Stop()
		l.stalled = nil
		l.mu.Unlock()
		l.emit(activity.Stop{ID: id})
	}
}

func (l *remoteLog) warn(text string) {
	l.emit(activity.Log{Level: activity.LevelWarn, Text: "warning: " + text})
}

// HandleEvent handles an event of the machine while it builds.
func (l *remoteLog) HandleEvent(e activity.Event) {
	l.touch()
	switch e := e.(type) {
	case activity.Log:
		l.emit(e)
	case activity.Result:
		if len(e.Fields) == 0 {
			return
		}
		text, ok := e.Fields[0].Text()
		switch {
		case !ok:
		case e.Type == activity.BuildLogLine:
			l.write(text + "\n")
			l.emit(activity.Result{ID: l.id, Type: e.Type, Fields: e.Fields[:1]})
		case e.Type == activity.SetPhase:
			l.emit(activity.Result{ID: l.id, Type: e.Type, Fields: e.Fields[:1]})
		}
	}
}

// write adds a line to the log of the build.
func (l *remoteLog) write(line string) {
	l.size += uint64(len(line))
	if limit := l.limits.MaxLogSize; limit > 0 && l.size > limit {
		l.stop(errLogLimit)
		return
	}
	if _, err := io.WriteString(l.file, line); err != nil {
		l.stop(fmt.Errorf("writing the log: %w", err))
	}
}

// limitReached returns the result of a build that a limit has ended, or nil.
func (l *remoteLog) limitReached(drv storepath.Path) *store.BuildResult {
	l.mu.Lock()
	defer l.mu.Unlock()
	var failure *builder.Failure
	switch l.cause {
	case nil:
		return nil
	case errTimeout:
		failure = builder.TimedOut(l.limits.Timeout)
	case errSilent:
		failure = builder.TimedOut(l.limits.MaxSilentTime)
	case errLogLimit:
		failure = builder.LogTooLarge(drv, l.limits.MaxLogSize)
	default:
		failure = &builder.Failure{Status: store.MiscFailure, Message: fmt.Sprintf("build of '%s' failed: %v", drv, l.cause)}
	}
	return &store.BuildResult{Status: failure.Status, Message: failure.Message}
}
