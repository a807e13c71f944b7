package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"pix/internal/parallel"
	"pix/internal/spool"
	"pix/nar"
	"pix/wire"
)

// A body writes the body of a request to w. When over is closed, it stops and returns
// errStopped. Any other error comes from w, or is a [*bodyError].
type body func(w io.Writer, over <-chan struct{}) error

// errStopped ends a body whose call has ended: the daemon has answered, or the caller has gone.
var errStopped = errors.New("the call is over")

// A bodyError reports that the caller's reader or sequence failed, or returned malformed
// contents.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the contents to upload: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// run runs the body. It converts a panic into a [*bodyError] of a [*parallel.PanicError].
func (b body) run(w io.Writer, over <-chan struct{}) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &bodyError{&parallel.PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return b(w, over)
}

// errMiscount is the panic of a call whose reader returns a negative count from Read, or one
// larger than the buffer. Then the contents are unknown, and the count would exceed the bounds
// of the buffer.
var errMiscount = errors.New("the reader of an upload returned an invalid count from Read")

// A callerReader wraps the caller's reader. It does not call Read after over is closed. Its
// errors are errStopped and [*bodyError].
type callerReader struct {
	r    io.Reader
	over <-chan struct{}
}

func (s callerReader) Read(p []byte) (int, error) {
	if isClosed(s.over) {
		return 0, errStopped
	}
	n, err := s.r.Read(p)
	if n < 0 || n > len(p) {
		panic(errMiscount)
	}
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// spoolAll reads the caller's reader to its end. It stops when ctx ends. The caller must close
// the file.
func spoolAll(ctx context.Context, r io.Reader) (_ *spool.File, err error) {
	file := new(spool.File)
	read := false
	defer func() {
		if !read { // also after a panic of the reader
			file.Close()
		}
	}()
	_, err = io.Copy(file, callerReader{r, ctx.Done()})
	if err == errStopped {
		err = contextError(ctx, "reading the contents to upload")
	}
	if err == nil {
		err = file.Rewind()
	}
	if err != nil {
		return nil, err
	}
	read = true
	return file, nil
}

// maxText is the largest size in bytes of a text that is read into memory. A client of a proxy
// may send any size.
const maxText = 64 << 20

// readText reads the caller's reader into memory. It stops when ctx ends.
func readText(ctx context.Context, r io.Reader) (string, error) {
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(callerReader{r, ctx.Done()}, maxText+1))
	if err == errStopped {
		err = contextError(ctx, "reading the contents to upload")
	}
	if err == nil && n > maxText {
		err = &bodyError{fmt.Errorf("this daemon needs the text in one piece, but it has more than %d MiB", maxText>>20)}
	}
	if err != nil {
		return "", err
	}
	return text.String(), nil
}

// fileArchiveBody returns a body with the archive of a regular file.
func fileArchiveBody(contents *spool.File) body {
	return func(w io.Writer, over <-chan struct{}) error {
		return nar.WriteFile(w, callerReader{contents, over}, uint64(contents.Size()))
	}
}

// readerBody returns a body with everything that r returns.
func readerBody(r io.Reader) body {
	return func(w io.Writer, over <-chan struct{}) error {
		_, err := io.Copy(w, callerReader{r, over})
		return err
	}
}

// archiveBody returns a body with the archive in r, and nothing after it: the daemon would read
// further bytes as something else. size is the length of the archive in bytes, or 0 if it is
// unknown.
func archiveBody(r io.Reader, size uint64) body {
	if size == 0 || size > math.MaxInt64-1 {
		return func(w io.Writer, over <-chan struct{}) error { return copyArchive(w, callerReader{r, over}) }
	}
	return func(w io.Writer, over <-chan struct{}) error {
		n, err := io.Copy(w, io.LimitReader(callerReader{r, over}, int64(size)))
		if err == nil && uint64(n) < size {
			err = &bodyError{fmt.Errorf("the archive ends after %d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)}
		}
		return err
	}
}

// copyArchive copies an archive of unknown size.
func copyArchive(w io.Writer, r io.Reader) error {
	_, err := nar.Copy(w, r)
	var malformed *nar.Error
	var failed *bodyError
	switch {
	case errors.Is(err, errStopped):
		return errStopped
	case errors.As(err, &malformed) && !errors.As(err, &failed):
		return &bodyError{err}
	}
	return err
}

// A daemon may refuse an upload before it reads the frames. Nix parses the content-address method of
// AddToStore, and checks the privilege for AddBuildLog, before it creates the reader of the frames. If
// that fails, Nix reads the length of the first frame as the number of the next operation, and the
// contents as its arguments. An attacker who chooses the contents could run operations with the rights
// of this client.
//
// Two rules prevent that:
//
//   - No frame has the length of an operation, so that Nix reports an invalid operation and closes the
//     connection. The exception is a frame of one byte: see awaitRefusal.
//   - After an error the connection is reused only if the daemon answers a query with a known
//     answer: see [sender.confirm].

const (
	// chunk is the size in bytes of the pieces of a body.
	chunk = 64 << 10

	// reserve is the number of bytes that stay in the buffer when a chunk is written. So the
	// last frames are small only if the whole contents are.
	reserve = minFirst

	pairFrame = 2   // the length of small frames
	oddFrame  = 15  // the length of the last small frame of an odd number of bytes
	minFirst  = 256 // the smallest length of a first frame, other than small frames
	minFrame  = 64  // the smallest length of a later frame, other than small frames

	// refusalTime is how long to wait for a refusal before a frame of one byte is sent. A
	// daemon on this machine refuses within a few milliseconds of the request. If it refuses
	// later, it reads the byte as the start of the length of a path, finds that the path is
	// invalid, and the connection is closed.
	refusalTime = 50 * time.Millisecond
)

// frameLen returns the length of the next frame if n bytes remain. It is n, if that is at least
// atLeast and not an operation of Nix. Otherwise it is a small length that is not an operation.
// Only a single remaining byte has a frame whose length is an operation.
//
// The operations of Nix 2.3 to 2.36 are 1, 3 to 14, 16, 18 to 47, 1000 and 1001. 48 to 50 are
// reserved. Later versions will add operations next to them, so lengths below 64 and from 900
// to 1100 are avoided. The length of the first frame decides what Nix does after a refusal, so
// it is not 64 to 255 either. Nix has not used 2 and 15 since version 0.12.
func frameLen(n, atLeast int) int {
	if n == 1 || n == oddFrame || atLeast <= n && n < 900 || n > 1100 {
		return n
	}
	return pairFrame
}

// appendFrames appends p to dst in frames, without the final empty frame.
func appendFrames(dst, p []byte) []byte {
	for atLeast := minFirst; len(p) > 0; atLeast = minFrame {
		n := frameLen(len(p), atLeast)
		dst = append(wire.AppendUint64(dst, uint64(n)), p[:n]...)
		p = p[n:]
	}
	return dst
}

// A frameWriter sends a body in frames. The buffer has space for the length before the
// contents, so that a chunk is sent without copying it.
type frameWriter struct {
	*sender
	buf []byte
	n   int // number of bytes of contents in the buffer
}

// frameBuffers are buffers of frame writers. Reusing them doubles the rate of uploads of 100
// bytes.
var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

type frameBuffer [wire.WordSize + chunk + reserve]byte

func (w *frameWriter) contents() []byte { return w.buf[wire.WordSize : wire.WordSize+w.n] }

func (w *frameWriter) free() []byte { return w.buf[wire.WordSize+w.n:] }

// add counts n new bytes in the buffer, and sends a chunk if the buffer is full.
func (w *frameWriter) add(n int) error {
	if w.n += n; w.n < chunk+reserve {
		return nil
	}
	binary.LittleEndian.PutUint64(w.buf, chunk)
	contents := w.contents()
	err := w.writeUnlessOver(w.buf[:wire.WordSize+chunk], contents[:chunk])
	w.n = copy(contents, contents[chunk:])
	return err
}

// close sends the last frames and the final empty frame in one piece.
func (w *frameWriter) close() error {
	if w.n == 1 {
		w.awaitRefusal()
	}
	const lengths = 128 * wire.WordSize // for more frames than possible
	frames := appendFrames(make([]byte, 0, lengths+w.n), w.contents())
	return w.writeUnlessOver(wire.AppendUint64(frames, 0), w.contents())
}

// awaitRefusal waits briefly for the daemon to refuse the upload. It is called before a frame
// of one byte without another frame before it: a daemon that has refused would read its length
// as IsValidPath.
//
// Contents of 3 to 13 bytes also end with such a frame. They do not wait, because the lengths
// of the frames before it are not operations. So a daemon that has refused does not read that
// far.
func (w *frameWriter) awaitRefusal() {
	late := time.NewTimer(refusalTime)
	defer late.Stop()
	select {
	case <-w.call.done:
	case <-late.C:
	}
}

// Write implements io.Writer.
func (w *frameWriter) Write(p []byte) (n int, err error) {
	if w.isOver() {
		return 0, errStopped
	}
	for len(p) > 0 {
		m := copy(w.free(), p)
		n, p = n+m, p[m:]
		if err := w.add(m); err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadFrom implements io.ReaderFrom for io.Copy. Contents are sent when they fill the buffer,
// so that a reader of small pieces does not cause small frames.
func (w *frameWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		m, err := r.Read(w.free())
		n += int64(m)
		if sendErr := w.add(m); sendErr != nil {
			return n, sendErr
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
