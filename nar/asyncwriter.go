package nar

import (
	"io"
	"sync"
)

// An asyncWriter passes an archive on to a slow writer, such as a hasher, while the caller
// does other work. It writes on the caller's goroutine until the first large piece arrives,
// and on a goroutine of its own from then on: a small archive does not justify one.
type asyncWriter struct {
	dst   io.Writer
	queue chan queuedPiece // nil until the goroutine runs
	done  chan struct{}    // closed when the goroutine has ended
	once  sync.Once        // closes queue

	mu       sync.Mutex
	err      error // the first error of dst
	panicked any
}

// A queuedPiece owns a piece. Its first n bytes are used.
type queuedPiece struct {
	*restorePiece
	n int
}

// maxQueued is the number of pieces that may wait for the writer.
const maxQueued = 4

func newAsyncWriter(dst io.Writer) *asyncWriter { return &asyncWriter{dst: dst} }

// Write implements io.Writer. Once the goroutine runs, it queues a copy of p, and the error
// may come from an earlier write.
func (a *asyncWriter) Write(p []byte) (n int, err error) {
	if a.queue == nil {
		return a.dst.Write(p)
	}
	for n < len(p) {
		piece := restorePieces.Get().(*restorePiece)
		copied := copy(piece[:], p[n:])
		if err := a.writePiece(piece, copied); err != nil {
			return n, err
		}
		n += copied
	}
	return n, nil
}

// writePiece queues the first n bytes of piece, and takes ownership of it.
func (a *asyncWriter) writePiece(piece *restorePiece, n int) error {
	if a.queue == nil {
		a.queue, a.done = make(chan queuedPiece, maxQueued), make(chan struct{})
		go a.run()
	}
	if err := a.failure(); err != nil {
		restorePieces.Put(piece)
		return err
	}
	a.queue <- queuedPiece{piece, n}
	return nil
}

// run writes the queued pieces until the queue is closed. After an error it discards them.
func (a *asyncWriter) run() {
	defer close(a.done)
	for p := range a.queue {
		if a.failure() == nil {
			a.write(p)
		}
		restorePieces.Put(p.restorePiece)
	}
}

func (a *asyncWriter) write(p queuedPiece) {
	var err error
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.err, a.panicked = err, recover(); a.panicked != nil {
			a.err = io.ErrClosedPipe // so that nothing more is written
		}
	}()
	_, err = a.dst.Write(p.restorePiece[:p.n])
}

func (a *asyncWriter) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// wait waits until everything is written, and returns the first error. If dst panicked, it
// panics with the same value. It may be called several times.
func (a *asyncWriter) wait() error {
	if a.queue == nil {
		return nil
	}
	a.once.Do(func() { close(a.queue) })
	<-a.done
	if p := a.panicked; p != nil {
		a.panicked = nil
		panic(p)
	}
	return a.err
}
