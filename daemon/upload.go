package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"pix/nar"
	"pix/protocol"
	"pix/wire"
)

// A body writes what follows a request. Its errors are those of the writer, or a
// [*bodyError].
type body func(io.Writer) error

// errAnswered ends a body: the daemon has answered before it was there, with an error.
var errAnswered = errors.New("the daemon has answered already")

// A bodyError says that the caller's body could not be read, or is not what it should be.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading what was to be uploaded: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// A source is the caller's reader. Its errors are [*bodyError].
type source struct{ io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

// all is a body of what r has.
func all(r io.Reader) body {
	return func(w io.Writer) error {
		_, err := io.Copy(w, source{r})
		return err
	}
}

// archive is a body of the archive that r has, and nothing but that: what follows it in r
// would be taken for something else. It has that many bytes, if that is not 0.
func archive(r io.Reader, size uint64) body {
	if size == 0 || size > math.MaxInt64-1 {
		return func(w io.Writer) error { return copyArchive(w, source{r}) }
	}
	return func(w io.Writer) error {
		n, err := io.Copy(w, io.LimitReader(source{r}, int64(size)))
		if err == nil && uint64(n) < size {
			err = &bodyError{fmt.Errorf("the archive ends after %d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)}
		}
		return err
	}
}

// copyArchive copies an archive whose size is not known.
func copyArchive(w io.Writer, r io.Reader) error {
	_, err := nar.Copy(w, r)
	var malformed *nar.Error
	var failed *bodyError
	if errors.As(err, &malformed) && !errors.As(err, &failed) {
		err = &bodyError{err}
	}
	return err
}

// upload sends the body of a call in the form that the daemon wants. When the daemon has
// answered before its end, with an error, frames end there, and the stream is in step. A
// body that cannot be read to its end cannot be taken back, nor can one that is not in
// frames, so then the connection is broken.
func (c *Conn) upload(k *call, b body) error {
	row, _ := protocol.Lookup(k.op)
	var err error
	switch form := row.Body(c.params); form {
	case protocol.FramedBody:
		err = c.uploadFrames(k, b)
	case protocol.AskedBody:
		err = c.uploadAsked(k, b)
	case protocol.NARBody:
		if err = c.uploadPlain(k, b); err == errAnswered {
			c.fail(errUnfinished)
		}
	case protocol.NoBody:
		err = &bodyError{fmt.Errorf("%s takes nothing", k.op)}
	}
	var failed *bodyError
	if !errors.As(err, &failed) {
		return nil // what went wrong is the connection's, and the call tells it
	}
	if k.asks == nil {
		c.fail(failed)
	}
	return failed
}

// chunk is the size in bytes of the pieces in which a body is written.
const chunk = 64 << 10

func (c *Conn) uploadFrames(k *call, b body) error {
	w := &chunkWriter{c: c, k: k, head: wire.WordSize, buf: make([]byte, wire.WordSize+chunk)}
	err := b(w)
	if err == nil {
		err = w.flush()
	}
	if err == nil || err == errAnswered {
		_, err = c.out.Write(wire.AppendUint64(nil, 0))
	}
	return err
}

func (c *Conn) uploadPlain(k *call, b body) error {
	w := &chunkWriter{c: c, k: k, buf: make([]byte, chunk)}
	if err := b(w); err != nil {
		return err
	}
	return w.flush()
}

// A chunkWriter writes chunks of a body as long as the call is not answered. With a head
// they are frames: there is place for it in the buffer, so that a frame is written at once
// and its contents are read to where they are written from.
type chunkWriter struct {
	c    *Conn
	k    *call
	head int // bytes before the contents
	buf  []byte
	n    int // bytes of contents in the buffer
}

func (w *chunkWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	select {
	case <-w.k.done:
		return errAnswered
	default:
	}
	if w.head > 0 {
		binary.LittleEndian.PutUint64(w.buf, uint64(w.n))
	}
	p := w.buf[:w.head+w.n]
	w.c.opts.trace.body("→", p[w.head:])
	w.n = 0
	_, err := w.c.out.Write(p)
	return err
}

// Write implements io.Writer.
func (w *chunkWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		m := copy(w.buf[w.head+w.n:], p)
		w.n += m
		n += m
		if p = p[m:]; w.head+w.n == len(w.buf) {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// ReadFrom implements io.ReaderFrom, for io.Copy. What has been read is written when it
// fills the buffer, so that small pieces make no small frames.
func (w *chunkWriter) ReadFrom(r io.Reader) (n int64, err error) {
	for {
		m, err := r.Read(w.buf[w.head+w.n:])
		w.n += m
		n += int64(m)
		if w.head+w.n == len(w.buf) {
			if flushed := w.flush(); flushed != nil {
				return n, flushed
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// uploadAsked gives the daemon what it asks for, and no more. A body that fails is ended by
// an empty string, which makes the daemon fail too: the stream stays in step.
func (c *Conn) uploadAsked(k *call, b body) error {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(b(w))
	}()
	defer func() {
		r.Close()
		<-ended
	}()
	buf := make([]byte, chunk)
	for {
		var want uint64
		select {
		case want = <-k.asks:
		case <-k.done:
			return nil
		}
		n, bodyErr := io.ReadFull(r, buf[:min(want, uint64(len(buf)))])
		c.opts.trace.body("→", buf[:n])
		if _, err := c.out.Write(wire.AppendString(nil, buf[:n])); err != nil {
			return err
		}
		var failed *bodyError
		if n == 0 && errors.As(bodyErr, &failed) {
			<-k.done
			return failed
		}
	}
}

// noOperation is the number of no operation of any daemon.
const noOperation = 2

// harmless is a body whose first frame is one that a daemon which takes its length for an
// operation refuses.
func harmless(r io.Reader) body {
	return func(w io.Writer) error {
		first, err := io.ReadAll(io.LimitReader(source{r}, noOperation))
		if err == nil {
			_, err = w.Write(first)
		}
		if err == nil {
			err = w.(*chunkWriter).flush()
		}
		if err == nil {
			err = all(r)(w)
		}
		return err
	}
}
