package store

import (
	"context"
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

// ReadKept keeps an archive, and returns what reads it, on whatever goroutine. The archive is closed
// then, and reading ends with ctx.
func ReadKept(ctx context.Context, archive Keepable, read func(archive io.Reader) error) func() error {
	kept := archive.Keep()
	return func() error {
		defer kept.Close()
		defer context.AfterFunc(ctx, func() { kept.Close() })() // also while it is read
		return read(kept)
	}
}

// An aheadArchive is an archive that was opened before its turn.
type aheadArchive struct {
	opened
	reader *aheadReader
	info   *PathInfo
	kept   bool

	mu     sync.Mutex // held while it is read
	closed bool
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
	return n, err
}

// Close ends reading, if it goes on. It may be called several times.
func (a *aheadArchive) Close() error {
	if !a.mu.TryLock() {
		a.cancel()
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	defer a.reader.used(a)
	defer a.cancel()
	return a.reader.guard.Call(a.nar.Close)
}
