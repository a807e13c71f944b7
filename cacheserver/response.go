package cacheserver

import (
	"io"
	"net/http"
	"os"
	"time"
)

// writePiece is the number of bytes that a client must receive within [Options.StallTimeout].
const writePiece = 256 << 10

// contested divides the time of a client that has a place for which another request waits. Otherwise a few clients that read
// slowly could keep all places for hours.
const contested = 4

// A response is a response whose client must make progress. It counts the written bytes.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration // negative is no limit
	place   *places       // has a place that the response holds, or is nil

	piece int           // bytes that the client has received in the time
	spent time.Duration // the time for which the server has waited for the client to receive them

	status  int   // 0 before the header was written
	written int64 // number of bytes of the body
	lost    bool  // the client has hung up, or was too slow
}

func newResponse(w http.ResponseWriter, stall time.Duration) *response {
	return &response{ResponseWriter: w, control: http.NewResponseController(w), stall: stall}
}

// Unwrap returns the response of the server, for [http.ResponseController].
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// startDeadline gives the client the rest of the time for a piece. It returns the current time. Only the time of writes counts, because
// a store may be slow, too.
func (w *response) startDeadline() (now time.Time) {
	now = time.Now()
	if w.stall <= 0 {
		return now
	}
	stall := w.stall
	if w.place != nil && w.place.waiting.Load() > 0 {
		stall /= contested
	}
	w.control.SetWriteDeadline(now.Add(stall - w.spent)) // a writer without deadlines is no connection
	return now
}

// received counts bytes that were written since a time. After a piece, the client has the whole time again.
func (w *response) received(n int, since time.Time) {
	w.written += int64(n)
	w.piece += n
	w.spent += time.Since(since)
	if w.piece >= writePiece {
		w.piece, w.spent = 0, 0
	}
}

// finish sends the buffered bytes, and removes the deadline: the connection may serve another request, by a handler
// without deadlines.
func (w *response) finish() {
	if w.stall <= 0 {
		return
	}
	w.piece, w.spent = 0, 0
	w.startDeadline()
	if w.control.Flush() == nil {
		w.control.SetWriteDeadline(time.Time{})
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (n int, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	for len(p) > 0 && err == nil {
		start := w.startDeadline()
		var some int
		some, err = w.ResponseWriter.Write(p[:min(len(p), writePiece-w.piece)])
		w.received(some, start)
		n += some
		p = p[some:]
	}
	w.lost = w.lost || err != nil
	return n, err
}

// writeFile writes a part of a file. Without TLS, the server copies it inside of the kernel.
func (w *response) writeFile(f *os.File, part byteRange) error {
	if _, err := f.Seek(part.offset, io.SeekStart); err != nil {
		return err
	}
	for part.length > 0 {
		start := w.startDeadline()
		n, err := io.CopyN(w.ResponseWriter, f, min(part.length, int64(writePiece-w.piece)))
		w.received(int(n), start)
		part.length -= n
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			w.lost = true
			return err
		}
	}
	return nil
}
