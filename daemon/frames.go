package daemon

import (
	"encoding/binary"
	"io"
	"sync"
	"time"

	"pix/wire"
)

// A daemon may refuse an upload before it reads the frames. Nix parses the content-address
// method of AddToStore, and checks the privilege for AddBuildLog, after it has begun to work
// and before it makes the reader of the frames. If that fails, Nix reads the length of the
// first frame as the number of the next operation, and the contents as its arguments. An
// attacker who chooses the contents would run operations with the rights of this client.
//
// Two rules prevent that:
//
//   - Every frame has a length that is no operation of any daemon, so that Nix answers
//     "invalid operation" and closes the connection. A frame of one byte is the exception:
//     see awaitRefusal.
//   - After an error the connection is reused only if the daemon answers a query whose answer is
//     known: see [sender.confirm].

const (
	// chunk is the size in bytes of the pieces in which a body is written.
	chunk = 64 << 10

	// reserve is how many bytes of contents stay in the buffer when a chunk is written. So the last
	// frames are small only if the whole contents are.
	reserve = minFirst

	pairFrame = 2   // the length of the frames of few bytes
	oddFrame  = 15  // the length of the last of them, if there is an odd number of bytes
	minFirst  = 256 // the smallest length of another frame that is the first
	minFrame  = 64  // the smallest length of another frame that is not the first

	// refusalTime is how long to wait for a refusal before a frame of one byte is sent. A
	// daemon on this machine refuses within a few milliseconds of the request. If it refuses
	// later, it takes the byte for the beginning of the length of a path, finds that the path
	// is not valid, and the connection is closed.
	refusalTime = 50 * time.Millisecond
)

// frameLen returns the length of the next frame if n bytes are left: n, if that is at least
// atLeast and no operation of Nix, else a small length that is no operation. Only a single
// byte that is left makes a frame whose length is an operation.
//
// The operations of Nix 2.3 to 2.36 are 1, 3 to 14, 16, 18 to 47, 1000 and 1001, and 48 to 50
// are reserved. Later versions will add some next to them, so lengths below 64 and from 900 to
// 1100 are avoided. The first frame, on which it depends what Nix does after a refusal, is not
// one of 64 to 255 bytes either. Nix has not used 2 and 15 since version 0.12.
func frameLen(n, atLeast int) int {
	if n == 1 || n == oddFrame || atLeast <= n && n < 900 || n > 1100 {
		return n
	}
	return pairFrame
}

// appendFrames appends p to dst in frames, without the frame that ends them.
func appendFrames(dst, p []byte) []byte {
	for atLeast := minFirst; len(p) > 0; atLeast = minFrame {
		n := frameLen(len(p), atLeast)
		dst = append(wire.AppendUint64(dst, uint64(n)), p[:n]...)
		p = p[n:]
	}
	return dst
}

// A frameWriter sends a body in frames. The buffer has space for the length before the contents, so
// that a chunk is sent without copying it.
type frameWriter struct {
	*sender
	buf []byte
	n   int // bytes of contents in the buffer
}

// frameBuffers has buffers for frame writers. Reusing them doubles the rate of uploads of 100 bytes.
var frameBuffers = sync.Pool{New: func() any { return new(frameBuffer) }}

type frameBuffer [wire.WordSize + chunk + reserve]byte

func (w *frameWriter) contents() []byte { return w.buf[wire.WordSize : wire.WordSize+w.n] }
func (w *frameWriter) free() []byte     { return w.buf[wire.WordSize+w.n:] }

// add counts n bytes that are new in the buffer, and sends a chunk if it is full.
func (w *frameWriter) add(n int) error {
	if w.n += n; w.n < chunk+reserve {
		return nil
	}
	binary.LittleEndian.PutUint64(w.buf, chunk)
	contents := w.contents()
	err := w.send(w.buf[:wire.WordSize+chunk], contents[:chunk])
	w.n = copy(contents, contents[chunk:])
	return err
}

// close sends the last frames, and the frame of length zero that ends them, in one piece.
func (w *frameWriter) close() error {
	if w.n == 1 {
		w.awaitRefusal()
	}
	const lengths = 128 * wire.WordSize // of more frames than there can be
	frames := appendFrames(make([]byte, 0, lengths+w.n), w.contents())
	return w.send(wire.AppendUint64(frames, 0), w.contents())
}

// awaitRefusal waits a short while for the daemon to refuse the upload. It is called before a
// frame of one byte is sent without another before it: a daemon that has refused would take
// its length for IsValidPath.
//
// Contents of 3 to 13 bytes also end with such a frame. They do not wait, because the frames
// before it are no operation, so that a daemon that has refused does not read as far.
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
	if w.over() {
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
// so that a reader of small pieces does not make small frames.
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
