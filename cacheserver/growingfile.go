package cacheserver

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

// A growingFile is a file that one goroutine writes and any number of others read.
type growingFile struct {
	file   *os.File
	cancel context.CancelFunc // ends the writer

	mu      sync.Mutex
	users   int         // the writer and the readers
	lonely  *time.Timer // cancels the writer; not nil if it is the only user
	written int64
	changed chan struct{} // closed and replaced when a field changes
	ended   bool
	err     error // why the file is not complete
}

// newGrowingFile returns an empty file with two users: the writer, and the request for which the file is written.
func newGrowingFile(f *os.File, cancel context.CancelFunc) *growingFile {
	return &growingFile{file: f, users: 2, cancel: cancel, changed: make(chan struct{})}
}

// open adds a user.
func (g *growingFile) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.users++
	if g.lonely != nil {
		g.lonely.Stop()
		g.lonely = nil
	}
}

// maxLonely is how long a file is written without a client that waits for it. A client may come back and resume, but a store
// that does not answer must not keep a place.
const maxLonely = 5 * time.Minute

// discard removes a file that is not used.
func (g *growingFile) discard() {
	g.cancel()
	os.Remove(g.file.Name())
	g.file.Close()
}

// close removes a user.
func (g *growingFile) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.users--; {
	case g.users == 0:
		g.file.Close()
	case g.users == 1 && !g.ended:
		g.lonely = time.AfterFunc(maxLonely, g.cancel)
	}
}

// Write appends to the file.
func (g *growingFile) Write(p []byte) (int, error) {
	n, err := g.file.Write(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written += int64(n)
	g.wake()
	return n, err
}

// wake wakes all waiting readers. g.mu is held.
func (g *growingFile) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// fail ends the file with an error for its readers.
func (g *growingFile) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

// end ends the file. With an error, it is not complete.
func (g *growingFile) end(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	if g.lonely != nil {
		g.lonely.Stop()
	}
	if g.err == nil {
		g.err = err
	}
	g.wake()
}

// readAt reads bytes at an offset, and waits for them if necessary. The error is [io.EOF] at the end of a complete file.
func (g *growingFile) readAt(ctx context.Context, p []byte, offset int64) (int, error) {
	for {
		g.mu.Lock()
		available, ended, err, changed := g.written-offset, g.ended, g.err, g.changed
		g.mu.Unlock()
		switch {
		case err != nil:
			return 0, err
		case available > 0:
			return g.file.ReadAt(p[:min(int64(len(p)), available)], offset)
		case ended:
			return 0, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// wait waits until the file is complete.
func (g *growingFile) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		ended, err, changed := g.ended, g.err, g.changed
		g.mu.Unlock()
		if ended || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
