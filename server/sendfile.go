package server

import (
	"io"
	"math"

	"pix/nar"
)

// filePiece is how many bytes of a file are sent at a time: each time the client has
// StallTimeout to take some.
const filePiece = 1 << 20

// sendFile writes the first n bytes of a file, or as many as there are.
func (o *outbox) sendFile(f nar.File, n int64) (sent int64, err error) {
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
	err = errClosed // if a read from the file panics
	defer func() { o.written(err) }()
	sent, err = o.sendPieces(f, n)
	return sent, err
}

// sendPieces sends a file in pieces. No other goroutine writes meanwhile.
func (o *outbox) sendPieces(f nar.File, n int64) (sent int64, err error) {
	for sent < n {
		o.stalled.start(o.limit)
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

// A lockedWriter writes to the connection for the goroutine that may.
type lockedWriter struct{ o *outbox }

func (w lockedWriter) Write(p []byte) (int, error) {
	if err := w.o.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
