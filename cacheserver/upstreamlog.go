package cacheserver

import (
	"context"
	"io"

	"pix/store"
	"pix/storepath"
)

var _ store.LogReader = (*Upstream)(nil)

// BuildLog returns the log of a derivation. Logs have no signatures, so their text is the word of the upstream store, as it is for
// a client that asks that store directly. They are sent to each client, and not kept.
func (u *Upstream) BuildLog(ctx context.Context, drv storepath.Path) (io.ReadCloser, error) {
	src, err := u.src.get(ctx)
	if err != nil {
		return nil, err
	}
	log, err := store.BuildLog(ctx, src, drv)
	if err = u.src.answered(ctx, err); err != nil {
		return nil, err
	}
	return &upstreamLog{log}, nil
}

// An upstreamLog is a log whose errors are errors of the upstream store.
type upstreamLog struct{ io.ReadCloser }

func (l *upstreamLog) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &UpstreamError{err}
	}
	return n, err
}
