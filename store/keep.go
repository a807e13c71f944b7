package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
)

// A Keepable is the archive of an [Import] that can be read later than the sequence goes on, so
// that many are read at once. Those of [Copy] are.
type Keepable interface {
	io.Reader

	// Keep returns the archive, of which nothing was read. It may be read by another goroutine,
	// also after the next object was asked for, and must be closed before the call that has got the
	// sequence returns. That may be done while it is read, and ends reading.
	Keep() io.ReadCloser
}

// ReadKept keeps an archive, and returns a function that calls read with it, on any goroutine, and closes
// it. Reading ends with ctx. If the archive turns out to be damaged and the source may send the right one
// the next time, the function calls read a second time, with the whole archive again.
func ReadKept(ctx context.Context, archive Keepable, read func(archive io.Reader) error) func() error {
	kept := archive.Keep()
	return func() error {
		defer kept.Close()
		defer context.AfterFunc(ctx, func() { kept.Close() })() // also while it is read
		err := read(kept)
		if again, ok := kept.(restarter); err != nil && ok && ctx.Err() == nil && again.restart() {
			err = read(kept)
		}
		return err
	}
}

// A restarter is an archive that may begin again after reading has failed. It reports whether it does.
type restarter interface{ restart() bool }

// worthRetrying reports whether the error of an archive says that reading all of it again may go better.
func worthRetrying(err error) bool {
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

	mu        sync.Mutex // held while it is read
	closed    bool
	whole     bool  // it was read to its end
	failed    error // why it could not be read
	noted     bool  // the reader has noted that
	restarted bool

	stopping sync.Mutex // held while cancel, of opened, is replaced or called by another goroutine
	stopped  bool
}

// stop ends a Read that another goroutine may have called.
func (a *aheadArchive) stop() {
	a.stopping.Lock()
	defer a.stopping.Unlock()
	a.stopped = true
	a.cancel()
}

// replace makes the archive read from another one, which stop can cancel from then on.
func (a *aheadArchive) replace(o opened) {
	a.stopping.Lock()
	defer a.stopping.Unlock()
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
		a.whole = true
	} else if err != nil {
		a.failed = err
	}
	return n, err
}

// hasFailed reports whether the archive could not be read.
func (a *aheadArchive) hasFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed != nil
}

// restart implements restarter.
func (a *aheadArchive) restart() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.restarted || !worthRetrying(a.failed) {
		return false
	}
	a.restarted = true
	err := a.reader.guard.Call(func() error {
		a.nar.Close()
		a.cancel()
		ctx, cancel := context.WithCancel(a.reader.ctx)
		a.replace(opened{nar: failedArchive{a.failed}, cancel: cancel}) // so that stop can cancel opening
		nar, err := ReadNAR(ctx, a.reader.src, a.info.Path)
		if err == nil {
			a.replace(opened{nar: nar, cancel: cancel})
		}
		return err
	})
	if a.failed = err; err != nil {
		a.replace(opened{nar: failedArchive{err}, cancel: a.cancel})
	}
	return err == nil
}

// A failedArchive is the archive of an object that could not be opened or was not tried.
type failedArchive struct{ err error }

func (a failedArchive) Read([]byte) (int, error) { return 0, a.err }
func (failedArchive) Close() error               { return nil }

// Close ends reading, if it goes on. It may be called several times.
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
	a.noteEnd()
	defer a.reader.used(a)
	defer a.cancel()
	return a.reader.guard.Call(a.nar.Close)
}

// noteEnd notes how reading has ended. An archive that was closed while it was read, or before its end, has
// neither failed nor succeeded.
func (a *aheadArchive) noteEnd() {
	a.stopping.Lock()
	stopped := a.stopped
	a.stopping.Unlock()
	switch {
	case a.failed == nil && a.whole:
		a.reader.failures.Succeed()
	case a.failed != nil && !a.noted && !stopped && a.reader.ctx.Err() == nil:
		a.reader.fail(a.info, a.failed, a.restarted)
	}
}
