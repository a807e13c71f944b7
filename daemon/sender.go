package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/internal/parallel"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A sender sends the body of a call on its own goroutine, in the form that the operation needs.
type sender struct {
	conn    *Conn
	call    *call
	writing atomic.Bool // a write is running

	done     chan struct{} // closed when the goroutine has ended and the fields below are set
	err      error         // a [*bodyError], or nil
	cutShort bool          // the call ended before the whole body was sent
}

// readGrace is how long a call waits for a Read of the caller's reader to return, after it was
// cancelled or its connection was lost.
const readGrace = time.Second

// errGoexit is the result of a body that calls runtime.Goexit, as a failing test does.
var errGoexit error = &bodyError{errors.New("the reader ended its goroutine")}

// errNotReading breaks the connection if the daemon answers an upload and stops reading.
var errNotReading = errors.New("the daemon answered an upload and does not read the rest of it")

// startSender starts to send a body.
func (c *Conn) startSender(k *call, b body) *sender {
	s := &sender{conn: c, call: k, done: make(chan struct{}), err: errGoexit}
	go func() {
		defer close(s.done)
		defer func() {
			if s.err == errGoexit {
				c.fail(errGoexit)
			}
		}()
		c.markCaller()
		s.err = s.sendBody(b)
	}()
	return s
}

// sendBody sends the body. It returns nil or a [*bodyError]. The call itself returns errors of
// the connection. If the body cannot be read to its end, a part of it was sent already, so
// sendBody breaks the connection. The exception is a body that the daemon asks for piece by
// piece.
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
		err = &bodyError{fmt.Errorf("%s takes no body", s.call.op)}
	}
	var failed *bodyError
	if !errors.As(err, &failed) {
		return nil
	}
	if s.call.demands == nil {
		s.conn.fail(failed)
	}
	return failed
}

// sendFrames sends the body in frames. If the call ends before the end of the body, it sends
// the final frame.
func (s *sender) sendFrames(b body) error {
	buf := frameBuffers.Get().(*frameBuffer)
	w := &frameWriter{sender: s, buf: buf[:]}
	err := b.run(w, s.call.done)
	if err == nil {
		err = w.close()
	}
	switch err {
	case nil: // otherwise a Read that is still running may write to the buffer
		frameBuffers.Put(buf)
	case errStopped:
		s.cutShort = true
		err = s.writeOut(wire.AppendUint64(nil, 0))
	}
	return err
}

// sendPlain sends an archive without frames.
func (s *sender) sendPlain(b body) error {
	w := bufio.NewWriterSize(plainWriter{s}, chunk)
	err := b.run(w, s.call.done)
	if err == nil {
		err = w.Flush()
	}
	return err
}

// A plainWriter is an io.Writer that sends bytes without frames.
type plainWriter struct{ *sender }

func (w plainWriter) Write(p []byte) (int, error) {
	if err := w.writeUnlessOver(p, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// sendAsked sends the bytes that the daemon asks for. If the body fails, it sends an empty
// string: the daemon then fails as well, and the stream stays in step.
func (s *sender) sendAsked(b body) error {
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.CloseWithError(errGoexit)
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
		case want = <-s.call.demands:
		case <-s.call.done:
			return nil
		}
		n, bodyErr := io.ReadFull(r, buf[:min(want, uint64(len(buf)))])
		s.conn.opts.trace.body("→", buf[:n])
		if err := s.writeOut(wire.AppendString(nil, buf[:n])); err != nil {
			return err
		}
		var failed *bodyError
		if n == 0 && errors.As(bodyErr, &failed) {
			<-s.call.done
			return failed
		}
	}
}

// isOver reports whether the call has ended.
func (s *sender) isOver() bool { return isClosed(s.call.done) }

// writeUnlessOver writes p unless the call has ended. contents is the part of p to trace.
func (s *sender) writeUnlessOver(p, contents []byte) error {
	if s.isOver() {
		return errStopped
	}
	if len(contents) > 0 {
		s.conn.opts.trace.body("→", contents)
	}
	return s.writeOut(p)
}

func (s *sender) writeOut(p []byte) error {
	s.writing.Store(true)
	defer s.writing.Store(false)
	_, err := s.conn.out.Write(p)
	return err
}

// result waits until the body is no longer read. It returns the error of the body, or else the
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
	if answer != nil || s.cutShort {
		s.confirm(ctx)
	}
	if s.err != nil {
		return s.err
	}
	return answer
}

// join waits for the goroutine of the sender, so that the caller's reader is not used after the
// call has returned. The call must have ended.
//
// A Read cannot be interrupted. If ctx has ended or the connection is lost, join waits for at
// most readGrace, and returns false if the goroutine is still in a Read. The goroutine ends
// when that Read returns. It does not call Read again.
func (s *sender) join(ctx context.Context) bool {
	if isClosed(s.done) {
		return true
	}
	timeout := max(s.conn.opts.DrainTimeout, readGrace)
	for {
		select {
		case <-s.done:
			return true
		case <-s.conn.lost:
			return s.joinLost()
		case <-ctx.Done():
			s.conn.fail(cancelled(ctx, s.call.op))
		case <-time.After(timeout):
			if s.writing.Load() { // otherwise the caller's reader is slow
				s.conn.fail(errNotReading)
			}
		}
	}
}

func (s *sender) joinLost() bool {
	late := time.NewTimer(readGrace)
	defer late.Stop()
	select {
	case <-s.done:
		return true
	case <-late.C:
		return false
	}
}

// errNotRead breaks the connection after an upload that the daemon has answered but may not
// have read.
var errNotRead = errors.New("the daemon answered an upload and may not have read it")

// A refusedError is the reason for breaking a connection after a refused upload.
type refusedError struct {
	refusal *activity.Error // the error of the upload
	failure error           // the later failure of the connection
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("the daemon refused an upload and may not have read it: %v", e.refusal)
}

// Unwrap returns both errors.
func (e *refusedError) Unwrap() []error { return []error{e.refusal, e.failure} }

// confirm checks that the daemon has read the whole body, after a call that failed or was
// answered early. Otherwise it breaks the connection. The call stays exclusive until confirm
// returns. So no other call gets the answer to contents that the daemon reads as a request.
func (s *sender) confirm(ctx context.Context) {
	c := s.conn
	if c.Err() != nil {
		return
	}
	if err := c.probe(ctx); err != nil {
		c.fail(fmt.Errorf("%w: %w", errNotRead, err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = nil
}

// ProbePath returns the path that [Conn] asks for after a refused upload. No store has it. It
// is always the same, so that a recorded connection can be replayed. It is "" if dir is
// invalid.
func ProbePath(dir storepath.Dir) storepath.Path {
	// Objects never have the type "probe", so no object has a path with this fingerprint.
	path, err := dir.MakePath("probe", nixhash.Sum(nixhash.SHA256, nil), "probe")
	if err != nil {
		return ""
	}
	return path
}

// probe asks whether ProbePath is valid, and returns an error unless the daemon answers within
// DrainTimeout that it is not. A daemon that has not read a body to its end reads the rest as
// requests: it answers those first, or reports an invalid operation and closes the connection.
func (c *Conn) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.DrainTimeout, errDrainTimeout)
	defer cancel()
	reply := new(protocol.IsValidPathReply)
	noHandler := context.Background()
	p, k, err := c.newCall(noHandler, nil, &protocol.IsValidPathRequest{Path: ProbePath(c.Dir())}, reply, true)
	if err == nil {
		err = c.enqueue(ctx, p, k)
	}
	if err == nil {
		err = c.awaitAnswer(ctx, k)
	}
	if err == errCallerGone {
		return cancelled(ctx, k.op)
	}
	if err == nil && reply.Valid {
		return errors.New("it reports a path as valid that no store has")
	}
	return err
}
