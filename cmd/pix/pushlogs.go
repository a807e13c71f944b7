package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"pix/internal/buildlogs"
	"pix/store"
	"pix/storepath"
)

// An openLog opens the build log of a derivation. The error is [store.ErrNotFound] or [fs.ErrNotExist] if there is none.
type openLog func(ctx context.Context, drv storepath.Path) (io.ReadCloser, error)

// logsToPush returns how the build logs of a store are opened: from the store, or from the log directory of this machine.
func (a *app) logsToPush(ctx context.Context, s store.Store) (openLog, error) {
	dir, err := a.logDir(ctx, s)
	if err != nil {
		return nil, err
	}
	if dir != "" {
		return func(_ context.Context, drv storepath.Path) (io.ReadCloser, error) { return buildlogs.Open(dir, drv) }, nil
	}
	r, ok := store.As[store.LogReader](s)
	if !ok {
		if err := onThisMachine(ctx, s, "the protocol has no build logs"); err != nil {
			return nil, err
		}
		return nil, &unknownError{errors.New("--logs: this store has no build logs")}
	}
	return r.BuildLog, nil
}

// pushLog copies the build log of a derivation if there is one. A log that cannot be read is a warning, because another attempt would
// not help.
func (p *pusher) pushLog(ctx context.Context, dst store.Store, drv storepath.Path) error {
	log, err := p.log(ctx, drv)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return p.skipLog(ctx, drv, err)
	}
	defer log.Close()
	read := &watchedReader{src: log}
	if err := store.AddBuildLog(ctx, dst, drv, read); read.err == nil {
		return err
	}
	return p.skipLog(ctx, drv, read.err)
}

// skipLog warns of a log that is left out. The error is the cause of ctx if ctx has ended.
func (p *pusher) skipLog(ctx context.Context, drv storepath.Path, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.warn(fmt.Sprintf("the log of '%s' is left out: %s", drv, errorText(err)))
	return nil
}

// A watchedReader keeps the error of a reader.
type watchedReader struct {
	src io.Reader
	err error
}

func (r *watchedReader) Read(b []byte) (int, error) {
	n, err := r.src.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
