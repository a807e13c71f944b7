package server

import (
	"io"
	"math"
	"sync"

	"pix/nar"
)

// sendArchive sends the archive that the request has opened, if any. An error is sent in the
// middle of the archive, and the connection is closed: the client cannot find the end of the
// archive any more. The last bytes are held back until the store has reported success, so that
// a complete archive is always correct.
func (c *conn) sendArchive() error {
	if c.archive == nil {
		return nil
	}
	archive := c.archive
	c.archive = nil
	defer archive.Close()
	c.in.watch(watchDelay, smallAhead) // the store may take long to return the next bytes
	defer c.in.unwatch()
	s := &archiveSender{out: &c.out}
	piece := archivePieces.Get().(*[archivePiece]byte)
	defer archivePieces.Put(piece)
	_, err := io.CopyBuffer(s, archive, piece[:])
	if s.err != nil {
		return s.err
	}
	if err != nil {
		return c.reject(clientError(err), err)
	}
	return s.flush(c.reader.Buffered() > 0)
}

// archivePiece is the number of bytes of an archive that are read at a time.
const archivePiece = 32 << 10

var archivePieces = sync.Pool{New: func() any { return new([archivePiece]byte) }}

// An archiveSender sends everything that is written to it except the last heldBack bytes.
type archiveSender struct {
	out  *outbox
	held [heldBack]byte // held[:n] are the last bytes written
	n    int
	sent int   // number of bytes that write has sent, counted up to smallArchive+1
	err  error // the first error of sending
}

// smallArchive is the number of bytes of an archive that may be held back together with the reply before it, so that a
// small archive is sent in one write, or together with the archives after it. While the store returns an archive slowly, nothing is held
// back.
const smallArchive = 32 << 10

// heldBack is the number of bytes that are held back: the last parenthesis of an archive.
const heldBack = 16

// Write implements io.Writer.
func (s *archiveSender) Write(p []byte) (int, error) {
	n := len(p)
	if s.n+n <= heldBack {
		s.n += copy(s.held[s.n:], p)
		return n, nil
	}
	before := s.held[:min(s.n, s.n+n-heldBack)] // sent now
	if s.write(before); n >= heldBack {
		s.write(p[:n-heldBack])
		s.n = copy(s.held[:], p[n-heldBack:])
	} else {
		s.n = copy(s.held[:], s.held[len(before):s.n])
		s.n += copy(s.held[s.n:], p)
	}
	return n, s.err
}

// WriteFile implements [nar.FileWriter].
func (s *archiveSender) WriteFile(f nar.File, n int64) (written int64, err error) {
	s.write(s.held[:s.n])
	s.n = 0
	if s.err == nil {
		s.err = s.out.flush()
	}
	direct := n - heldBack
	if s.err == nil && direct > 0 {
		written, s.err = s.out.writeFile(f, direct)
	}
	if s.err != nil || written < direct {
		return written, s.err
	}
	rest, err := io.Copy(s, io.NewSectionReader(f, written, n-written))
	return written + rest, err
}

// flush sends the bytes that were held back. If another request is already here, the outbox may send them with the next reply.
func (s *archiveSender) flush(another bool) error {
	if s.err == nil {
		s.err = s.out.writeNow(s.held[:s.n], true)
	}
	if s.err == nil && !another {
		s.err = s.out.flush()
	}
	return s.err
}

func (s *archiveSender) write(p []byte) {
	if s.err == nil && len(p) > 0 {
		s.sent = min(s.sent+len(p), smallArchive+1)
		s.err = s.out.writeNow(p, s.sent <= smallArchive)
	}
}

// filePiece is the number of bytes of a file that are sent at a time. The client has
// StallTimeout to read some of them.
const filePiece = 1 << 20

// writeFile writes the first n bytes of a file, or all of it if it is shorter.
func (o *outbox) writeFile(f nar.File, n int64) (sent int64, err error) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return 0, errClosed
	}
	if o.writing || len(o.buf) > 0 {
		o.mu.Unlock()
		return io.Copy(o, io.NewSectionReader(f, 0, n))
	}
	o.writing = true
	o.mu.Unlock()
	err = errClosed // the result if reading the file panics
	defer func() { o.doneWriting(err) }()
	sent, err = o.writePieces(f, n)
	return sent, err
}

// writePieces sends a file in pieces. No other goroutine may write at the same time.
func (o *outbox) writePieces(f nar.File, n int64) (sent int64, err error) {
	for sent < n {
		o.stalled.start(o.maxWait)
		some, err := sendFile(o.nc, f, sent, int(min(n-sent, filePiece, math.MaxInt)))
		o.stalled.stop(some)
		sent += int64(some)
		if err == errNoSendfile {
			rest, err := io.Copy(lockedWriter{o}, io.NewSectionReader(f, sent, n-sent))
			return sent + rest, err
		}
		if err != nil || some == 0 {
			return sent, err
		}
	}
	return sent, nil
}

// A lockedWriter writes to the connection, for a goroutine that has set outbox.writing.
type lockedWriter struct{ o *outbox }

func (w lockedWriter) Write(p []byte) (int, error) {
	if err := w.o.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
