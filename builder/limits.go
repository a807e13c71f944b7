package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pix/activity"
	"pix/builder/sandbox"
	"pix/store"
)

// The causes with which a limit ends a build.
var (
	errTimeout = errors.New("the build takes too long")
	errSilent  = errors.New("the build prints nothing")
)

// runLimited runs the builder until it ends or reaches a limit. For a limit, the error is a [*Failure].
func (b *build) runLimited(ctx context.Context, req *sandbox.Request, file io.Writer, id activity.ID) (*sandbox.Result, error) {
	limited, end := context.WithCancelCause(ctx)
	defer end(nil)
	limits, onWrite := b.opts.Limits(), func(uint64) error { return nil }
	if b.req.Watcher != nil {
		limits, onWrite = Limits{}, b.req.Watcher.Wrote
	}
	b.log = &buildLog{file: file, events: b.handler, id: id, most: b.opts.logLines(), maxSize: limits.MaxLogSize, onWrite: onWrite, onPhase: b.setPhase}
	if b.ownShell {
		if _, err := b.log.Write([]byte("/bin/sh is pix-sh, since this machine has no static busybox or bash\n")); err != nil {
			return nil, b.limitReached(ctx, nil, nil)
		}
	}
	if limit := limits.Timeout; limit > 0 {
		defer time.AfterFunc(limit, func() { end(errTimeout) }).Stop()
	}
	if limit := limits.MaxSilentTime; limit > 0 {
		silent := time.AfterFunc(limit, func() { end(errSilent) })
		defer silent.Stop()
		b.log.onWrite = func(uint64) error { silent.Reset(limit); return nil }
	}
	if b.req.Watcher != nil {
		b.req.Watcher.Started()
	}
	b.started = time.Now().Truncate(time.Second)
	result, err := b.opts.executor().Run(limited, req, trackedLog{b.log, b})
	b.untrack()
	if b.req.Watcher != nil {
		b.req.Watcher.Ended()
	}
	b.timesBuilt++
	b.stopped = time.Now().Truncate(time.Second)
	b.log.end()
	if result != nil {
		b.cpuUser, b.cpuSystem = result.CPUUser, result.CPUSystem
	}
	if killing := errors.Join(b.killLeftovers(ctx), b.removeCgroup()); killing != nil {
		return nil, killing
	}
	return result, cmp.Or(b.limitReached(ctx, context.Cause(limited), result), b.runError(err))
}

// runError returns the error of an executor. If another attempt may succeed, it is a failure of this build alone, and
// not of the whole request.
func (b *build) runError(err error) error {
	if errors.Is(err, sandbox.ErrLost) {
		return &Failure{Status: store.TransientFailure, Message: fmt.Sprintf("Cannot build '%s'.\nReason: %v.", b.req.Path, err)}
	}
	return err
}

// limitReached returns why the builder was killed, or nil. A builder that succeeded has ended before its limit.
func (b *build) limitReached(ctx context.Context, cause error, result *sandbox.Result) error {
	ended := result == nil || result.ExitCode != 0
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(b.log.err, errLogLimit):
		return LogTooLarge(b.req.Path, b.opts.MaxLogSize)
	case b.log.err != nil:
		return b.logFailure(b.log.err)
	case ended && errors.Is(cause, errTimeout):
		return TimedOut(b.opts.Timeout)
	case ended && errors.Is(cause, errSilent):
		return TimedOut(b.opts.MaxSilentTime)
	}
	return nil
}
