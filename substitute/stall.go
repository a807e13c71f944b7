package substitute

import (
	"context"
	"errors"
	"io"
	"time"

	"pix/binarycache"
	"pix/store"
)

// errStalled is the error of a substituter that has sent nothing for too long.
var errStalled = errors.New("the substituter does not answer")

// A stallWatch ends a context when a substituter sends nothing for too long. Without it, calls that wait for a
// hanging daemon would keep other calls, which may have better substituters, from copying.
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

// because returns errStalled if the watch has ended ctx, or else err.
func (w *stallWatch) because(ctx context.Context, err error) error {
	if w != nil && err != nil && err != io.EOF && context.Cause(ctx) == errStalled {
		return errStalled
	}
	return err
}

// start starts the timer before a read.
func (w *stallWatch) start() {
	if w != nil {
		w.timer.Reset(w.timeout)
	}
}

// pause stops the timer: the substituter has answered.
func (w *stallWatch) pause() {
	if w != nil {
		w.timer.Stop()
	}
}

// end stops the watch and releases the context.
func (w *stallWatch) end() {
	if w != nil {
		w.timer.Stop()
		w.cancel(nil)
	}
}
