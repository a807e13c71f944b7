package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"pix/internal/parallel"
	"pix/protocol"
	"pix/wire"
)

// A sender sends the body of a call, on its own goroutine, in the form that the operation has.
type sender struct {
	conn    *Conn
	call    *call
	writing atomic.Bool // a write is under way

	ended chan struct{} // closed when the goroutine has ended and the fields below are set
	err   error         // a [*bodyError], or nil
	early bool          // the call was over before the whole body was sent
}

// readGrace is how long a call that was cancelled, or whose connection was lost, waits for a
// Read of the caller's reader to return.
const readGrace = time.Second

// errGone is the result of a body that called runtime.Goexit, as a test that fails does.
var errGone error = &bodyError{errors.New("the reader ended its goroutine")}

// errDeaf breaks the connection if the daemon answers an upload and stops reading.
var errDeaf = errors.New("the daemon answered an upload and does not read the rest of it")

// startSender starts sending a body.
func (c *Conn) startSender(k *call, b body) *sender {
	s := &sender{conn: c, call: k, ended: make(chan struct{}), err: errGone}
	go func() {
		defer close(s.ended)
		defer func() {
			if s.err == errGone {
				c.fail(errGone)
			}
		}()
		c.markCaller()
		s.err = s.sendBody(b)
	}()
	return s
}

// sendBody sends the body. The error is nil or a [*bodyError]; the call returns errors of the connection.
// If the body cannot be read to its end, a part of it was sent and cannot be taken back, so sendBody
// breaks the connection. The exception is a body that the daemon asks for piece by piece.
func (s *sender) sendBody(b body) error {
	row, _ := protocol.Lookup(s.call.op)
	var err error
	switch row.Body(s.conn.params) {
	case protocol.FramedBody:
		err = s.sendFrames(b)
	case protocol.AskedBody:
		err = s.sendAsked(b)
	case protocol.NARBody:
		if err = s.sendPlain(b); err == errStopped {
			s.conn.fail(errUnfinished)
		}
	case protocol.NoBody:
		err = &bodyError{fmt.Errorf("%s takes nothing", s.call.op)}
	}
	var failed *bodyError
	if !errors.As(err, &failed) {
		return nil
	}
	if s.call.asks == nil {
		s.conn.fail(failed)
	}
	return failed
}

// sendFrames sends the body in frames. If the call is over before the end of the body, the
// frames end there.
func (s *sender) sendFrames(b body) error {
	buf := frameBuffers.Get().(*frameBuffer)
	w := &frameWriter{sender: s, buf: buf[:]}
	err := b.run(w, s.call.done)
	if err == nil {
		err = w.close()
	}
	switch err {
	case nil: // else a Read that the caller's reader has abandoned may still write to it
		frameBuffers.Put(buf)
	case errStopped:
		s.early = true
		err = s.write(wire.AppendUint64(nil, 0))
	}
	return err
}

// sendPlain sends an archive as it is.
func (s *sender) sendPlain(b body) error {
	w := bufio.NewWriterSize(plainWriter{s}, chunk)
	err := b.run(w, s.call.done)
	if err == nil {
		err = w.Flush()
	}
	return err
}

// A plainWriter is a sender as an io.Writer. It sends bytes without frames.
type plainWriter struct{ *sender }

func (w plainWriter) Write(p []byte) (int, error) {
	if err := w.send(p, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// sendAsked sends as many bytes as the daemon asks for. If the body fails, it sends an empty string: the
// daemon then fails as well, and the stream stays in step.
func (s *sender) sendAsked(b body) error {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.CloseWithError(errGone)
		s.conn.markCaller()
		w.CloseWithError(b.run(w, s.call.done))
	}()
	defer func() {
		r.Close()
		<-ended
	}()
	buf := make([]byte, chunk)
	for {
		var want uint64
		select {
		case want = <-s.call.asks:
		case <-s.call.done:
			return nil
		}
		n, bodyErr := io.ReadFull(r, buf[:min(want, uint64(len(buf)))])
		s.conn.opts.trace.body("→", buf[:n])
		if err := s.write(wire.AppendString(nil, buf[:n])); err != nil {
			return err
		}
		var failed *bodyError
		if n == 0 && errors.As(bodyErr, &failed) {
			<-s.call.done
			return failed
		}
	}
}

// over reports whether the call has ended.
func (s *sender) over() bool { return isClosed(s.call.done) }

// send sends p unless the call has ended. contents is the part of p to trace.
func (s *sender) send(p, contents []byte) error {
	if s.over() {
		return errStopped
	}
	if len(contents) > 0 {
		s.conn.opts.trace.body("→", contents)
	}
	return s.write(p)
}

func (s *sender) write(p []byte) error {
	s.writing.Store(true)
	defer s.writing.Store(false)
	_, err := s.conn.out.Write(p)
	return err
}

// result waits until the body is no longer read, and returns the error of the body, or else the
// answer. If the daemon may not have read the whole body, it breaks the connection. It raises a
// panic of the caller's reader again.
func (s *sender) result(ctx context.Context, answer error) error {
	if !s.join(ctx) {
		return answer
	}
	var panicked *parallel.PanicError
	if errors.As(s.err, &panicked) {
		s.conn.fail(errUnfinished)
		panic(panicked)
	}
	if answer != nil || s.early {
		s.confirm(ctx)
	}
	if s.err != nil {
		return s.err
	}
	return answer
}

// join waits for the goroutine of the sender, so that the caller's reader is not used after
// the call has returned. The call must be over.
//
// A Read cannot be interrupted. If ctx has ended or the connection is lost, join waits for
// readGrace at most, and returns false if the goroutine is still in a Read. The goroutine ends
// when that Read returns; it does not call Read again.
func (s *sender) join(ctx context.Context) bool {
	if isClosed(s.ended) {
		return true
	}
	timeout := max(s.conn.opts.DrainTimeout, readGrace)
	for {
		select {
		case <-s.ended:
			return true
		case <-s.conn.lost:
			return s.joinLost()
		case <-ctx.Done():
			s.conn.fail(cancelled(ctx, s.call.op))
		case <-time.After(timeout):
			if s.writing.Load() { // otherwise the caller's reader is slow
				s.conn.fail(errDeaf)
			}
		}
	}
}

func (s *sender) joinLost() bool {
	late := time.NewTimer(readGrace)
	defer late.Stop()
	select {
	case <-s.ended:
		return true
	case <-late.C:
		return false
	}
}
