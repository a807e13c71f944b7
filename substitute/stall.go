package substitute

import (
	"context"
	"errors"
	"io"
	"time"

	"pix/binarycache"
	"pix/store"
)

// errStalled says that a substituter has sent nothing for too long.
var errStalled = errors.New("the substituter does not answer")

// A stallWatch ends a context when a substituter sends nothing for too long. Without it, calls that wait for a
// daemon that hangs would keep the places of other calls, which may have better substituters.
type stallWatch struct {
	timeout time.Duration
	timer   *time.Timer
	cancel  context.CancelCauseFunc
}

// watchStall returns a context that ends when the substituter has not answered in time. The watch is nil for a
// binary cache, which has timeouts of its own.
func watchStall(ctx context.Context, sub store.Store, timeout time.Duration) (context.Context, *stallWatch) {
	if _, ok := store.As[*binarycache.Store](sub); ok {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &stallWatch{timeout: timeout, cancel: cancel}
	w.timer = time.AfterFunc(timeout, func() { cancel(errStalled) })
	return ctx, w
}

// because returns err, or that the substituter has stalled if the watch has ended ctx.
func (w *stallWatch) because(ctx context.Context, err error) error {
	if w != nil && err != nil && err != io.EOF && context.Cause(ctx) == errStalled {
		return errStalled
	}
	return err
}

// wait begins to wait for something.
func (w *stallWatch) wait() {
	if w != nil {
		w.timer.Reset(w.timeout)
	}
}

// came says that it has come.
func (w *stallWatch) came() {
	if w != nil {
		w.timer.Stop()
	}
}

// end releases the context.
func (w *stallWatch) end() {
	if w != nil {
		w.timer.Stop()
		w.cancel(nil)
	}
}
