package nar

import (
	"io"
	"sync"
)

// An aside passes an archive on to a writer that looks at it, such as one that hashes it, while
// other things are done. It begins to do so on a goroutine of its own with the first large piece:
// for a small archive that is not worth while.
type aside struct {
	dst   io.Writer
	queue chan asidePiece // nil until there is a goroutine
	ended chan struct{}   // closed when it has ended
	once  sync.Once       // to end it

	mu       sync.Mutex
	err      error // of dst
	panicked any
}

// An asidePiece is the first n bytes of a piece, which belongs to whoever has it.
type asidePiece struct {
	*restorePiece
	n int
}

// piecesAside is how many pieces may wait for the writer.
const piecesAside = 4

func newAside(dst io.Writer) *aside { return &aside{dst: dst} }

// Write writes p, or has it written later, which is then copied. The error may be that of an
// earlier write. It implements io.Writer.
func (a *aside) Write(p []byte) (n int, err error) {
	if a.queue == nil {
		return a.dst.Write(p)
	}
	for n < len(p) {
		piece := restorePieces.Get().(*restorePiece)
		some := copy(piece[:], p[n:])
		if err := a.give(piece, some); err != nil {
			return n, err
		}
		n += some
	}
	return n, nil
}

// give has the first n bytes of a piece written, and the piece given back to restorePieces.
func (a *aside) give(piece *restorePiece, n int) error {
	if a.queue == nil {
		a.queue, a.ended = make(chan asidePiece, piecesAside), make(chan struct{})
		go a.run()
	}
	if err := a.failure(); err != nil {
		restorePieces.Put(piece)
		return err
	}
	a.queue <- asidePiece{piece, n}
	return nil
}

// run writes what is given, until there is no more.
func (a *aside) run() {
	defer close(a.ended)
	for p := range a.queue {
		if a.failure() == nil {
			a.write(p)
		}
		restorePieces.Put(p.restorePiece)
	}
}

func (a *aside) write(p asidePiece) {
	var err error
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.err, a.panicked = err, recover(); a.panicked != nil {
			a.err = io.ErrClosedPipe // nothing more is written
		}
	}()
	_, err = a.dst.Write(p.restorePiece[:p.n])
}

func (a *aside) failure() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// end waits until all is written, and returns the first error. A panic of the writer is the
// caller's. It may be called several times.
func (a *aside) end() error {
	if a.queue == nil {
		return nil
	}
	a.once.Do(func() { close(a.queue) })
	<-a.ended
	if p := a.panicked; p != nil {
		a.panicked = nil
		panic(p)
	}
	return a.err
}
