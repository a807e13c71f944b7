package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// A Keepable is an archive of an [Import] that can be read after the sequence has continued, so
// that many are read at a time. The archives of [Copy] are Keepable.
type Keepable interface {
	io.Reader

	// Keep returns the unread archive. It may be read on another goroutine, even after the next
	// object was requested. It must be closed before the call that got the sequence returns.
	// Closing it during a Read ends the Read.
	Keep() io.ReadCloser
}

// ReadKept keeps an archive, and returns a function that calls read with it, on any goroutine,
// and closes it. Reading ends with ctx. If the archive is damaged and the source may return a
// good one the next time, the function calls read a second time, with the archive from its
// start.
func ReadKept(ctx context.Context, archive Keepable, read func(archive io.Reader) error) func() error {
	kept := archive.Keep()
	return func() error {
		defer kept.Close()
		defer context.AfterFunc(ctx, func() { kept.Close() })() // also during a Read
		err := read(kept)
		if again, ok := kept.(restarter); err != nil && ok && ctx.Err() == nil && again.restart() {
			err = read(kept)
		}
		return err
	}
}

// A restarter is an archive that may restart from its beginning after a failed read. restart
// reports whether it did.
type restarter interface{ restart() bool }

// isRetryable reports whether reading the whole archive again may succeed after this error.
func isRetryable(err error) bool {
	type retryable interface {
		error
		Retryable() bool
	}
	r, ok := errors.AsType[retryable](err)
	return ok && r.Retryable()
}

// An aheadArchive is an archive that was opened before its turn.
type aheadArchive struct {
	opened
	reader *aheadReader
	info   *PathInfo
	kept   bool

	mu        sync.Mutex // held during a Read
	closed    bool
	complete  bool  // it was read to its end
	readErr   error // the error of the last Read
	recorded  bool  // the reader has recorded the failure
	restarted bool

	stopMu  sync.Mutex // held while opened.cancel is replaced or called
	stopped bool
}

// stop ends a Read on another goroutine.
func (a *aheadArchive) stop() {
	a.stopMu.Lock()
	defer a.stopMu.Unlock()
	a.stopped = true
	a.cancel()
}

// replace makes the archive read from another one, which stop can cancel from then on.
func (a *aheadArchive) replace(o opened) {
	a.stopMu.Lock()
	defer a.stopMu.Unlock()
	if a.opened = o; a.stopped {
		o.cancel()
	}
}

// Keep implements [Keepable].
func (a *aheadArchive) Keep() io.ReadCloser {
	a.kept = true
	return a
}

// Read implements io.Reader.
func (a *aheadArchive) Read(p []byte) (n int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0, fs.ErrClosed
	}
	err = a.reader.guard.Call(func() (err error) {
		n, err = a.nar.Read(p)
		return err
	})
	if err == io.EOF {
		a.complete = true
	} else if err != nil {
		a.readErr = err
	}
	return n, err
}

// hasFailed reports whether the archive could not be read.
func (a *aheadArchive) hasFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.readErr != nil
}

// restart implements restarter.
func (a *aheadArchive) restart() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.restarted || !isRetryable(a.readErr) {
		return false
	}
	a.restarted = true
	err := a.reader.guard.Call(func() error {
		a.nar.Close()
		a.cancel()
		ctx, cancel := context.WithCancel(a.reader.ctx)
		a.replace(opened{nar: failedArchive{a.readErr}, cancel: cancel}) // so that stop can cancel ReadNAR
		nar, err := ReadNAR(ctx, a.reader.src, a.info.Path)
		if err == nil {
			a.replace(opened{nar: nar, cancel: cancel})
		}
		return err
	})
	if a.readErr = err; err != nil {
		a.replace(opened{nar: failedArchive{err}, cancel: a.cancel})
	}
	return err == nil
}

// A failedArchive is the archive of an object that could not be opened or was not tried.
type failedArchive struct{ err error }

func (a failedArchive) Read([]byte) (int, error) { return 0, a.err }
func (failedArchive) Close() error               { return nil }

// Close ends a running Read. It may be called several times.
func (a *aheadArchive) Close() error {
	if !a.mu.TryLock() {
		a.stop()
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	a.recordEnd()
	defer a.reader.releaseArchive(a)
	defer a.cancel()
	return a.reader.guard.Call(a.nar.Close)
}

// recordEnd records the result of reading. An archive that was closed during a Read, or before
// its end, has neither failed nor succeeded.
func (a *aheadArchive) recordEnd() {
	a.stopMu.Lock()
	stopped := a.stopped
	a.stopMu.Unlock()
	switch {
	case a.readErr == nil && a.complete:
		a.reader.failures.Succeed()
	case a.readErr != nil && !a.recorded && !stopped && a.reader.ctx.Err() == nil:
		a.reader.recordFailure(a.info, a.readErr, a.restarted)
	}
}
