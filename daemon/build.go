package daemon

import (
	"context"
	"errors"
	"fmt"

	"pix/activity"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
)

var _ store.Builder = (*Conn)(nil)

// BuildPaths makes the paths valid, by building or by substitution. The error is a
// [*store.BuildError], which wraps the daemon's [*activity.Error], if that failed. The
// connection is busy until the build has ended; cancelling ctx closes it, and the daemon
// then stops building.
func (c *Conn) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	last := &lastLog{next: activity.HandlerOf(ctx)}
	if c.Version() < protocol.MakeVersion(26) {
		ctx = activity.WithHandler(ctx, last)
	}
	_, err := ask[protocol.Ack](ctx, c, &protocol.BuildPathsRequest{Paths: paths, Mode: mode})
	var said *activity.Error
	if !errors.As(err, &said) || errors.Is(err, ErrConnLost) {
		return err
	}
	if last.text != "" {
		err = fmt.Errorf("%w: %s", said, activity.Plain(last.text))
	}
	return &store.BuildError{Paths: paths, Err: err}
}

// A lastLog keeps the last log line that came. Before 1.26 the error of a build says which
// one failed, and the last line before it why.
type lastLog struct {
	next activity.Handler
	text string
}

func (l *lastLog) HandleEvent(e activity.Event) {
	if log, ok := e.(activity.Log); ok {
		l.text = log.Text
	}
	if l.next != nil {
		l.next.HandleEvent(e)
	}
}
