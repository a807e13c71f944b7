package server

import (
	"io"
	"sync"

	"pix/nar"
)

// sendArchive sends the archive that was opened, if one was. An error stands in its midst
// and is followed by a hang-up, since the client can no longer tell where the archive
// ends. The end is held back until the store has said that all was right, so that
// what is whole is good.
func (c *conn) sendArchive() error {
	if c.archive == nil {
		return nil
	}
	archive := c.archive
	c.archive = nil
	defer archive.Close()
	c.in.watch(watchDelay, smallAhead) // the store may wait for the next bytes
	defer c.in.unwatch()
	s := &archiveSender{out: &c.out}
	piece := archivePieces.Get().(*[archivePiece]byte)
	defer archivePieces.Put(piece)
	_, err := io.CopyBuffer(s, archive, piece[:])
	if s.err != nil {
		return s.err
	}
	if err != nil {
		return c.refuse(tellable(err), err)
	}
	return s.end()
}

// archivePiece is how many bytes of an archive, or of a file in one, are taken at a time.
const archivePiece = 32 << 10

var archivePieces = sync.Pool{New: func() any { return new([archivePiece]byte) }}

// An archiveSender sends what is written to it, all but the last bytes.
type archiveSender struct {
	out  *outbox
	held [heldBack]byte // held[:n] are the last bytes that were written
	n    int
	err  error // of sending
}

// heldBack is how many bytes of an archive are held back: those of its last parenthesis.
const heldBack = 16

// Write implements io.Writer.
func (s *archiveSender) Write(p []byte) (int, error) {
	n := len(p)
	if s.n+n <= heldBack {
		s.n += copy(s.held[s.n:], p)
		return n, nil
	}
	before := s.held[:min(s.n, s.n+n-heldBack)] // goes now
	if s.send(before); n >= heldBack {
		s.send(p[:n-heldBack])
		s.n = copy(s.held[:], p[n-heldBack:])
	} else {
		s.n = copy(s.held[:], s.held[len(before):s.n])
		s.n += copy(s.held[s.n:], p)
	}
	return n, s.err
}

// WriteFile implements [nar.FileWriter].
func (s *archiveSender) WriteFile(f nar.File, n int64) (written int64, err error) {
	s.send(s.held[:s.n])
	s.n = 0
	direct := n - heldBack
	if s.err == nil && direct > 0 {
		written, s.err = s.out.sendFile(f, direct)
	}
	if s.err != nil || written < direct {
		return written, s.err
	}
	rest, err := io.Copy(s, io.NewSectionReader(f, written, n-written))
	return written + rest, err
}

// end sends what was held back.
func (s *archiveSender) end() error {
	s.send(s.held[:s.n])
	return s.err
}

func (s *archiveSender) send(p []byte) {
	if s.err == nil && len(p) > 0 {
		s.err = s.out.send(p, false)
	}
}
