package daemon

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/wire"
)

var (
	errUnasked    = errors.New("nobody asked for it")
	errLate       = errors.New("the answer to a cancelled query did not come in time")
	errUnfinished = errors.New("a call ended before its answer was there")
)

// A call is an operation under way.
type call struct {
	op        protocol.Op
	reply     protocol.Reply
	exclusive bool
	events    eventQueue

	once sync.Once
	done chan struct{} // closed when err and reply are there
	err  error
}

func (k *call) finish(err error) {
	k.once.Do(func() {
		k.err = err
		close(k.done)
	})
}

// replyTo is a pointer to a reply of type R.
type replyTo[R any] interface {
	*R
	protocol.Reply
}

// query sends a request that the daemon answers at once, behind others that are under
// way, and waits for the reply.
func query[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request) (reply R, err error) {
	into := new(R) // after a cancellation the read loop may still write to it
	if err := c.query(ctx, req, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

// do sends a request that has the connection for itself, and its body if there is one,
// and waits for the reply.
func do[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request, body io.Reader) (reply R, err error) {
	into := new(R)
	if err := c.do(ctx, req, body, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

func (c *Conn) query(ctx context.Context, req protocol.Request, reply protocol.Reply) error {
	call, err := c.send(ctx, req, reply, false)
	if err != nil {
		return err
	}
	if err := c.wait(ctx, call); err != errLeft {
		return err
	}
	// The answer still comes, and is dropped. It has its time, then the connection is
	// no longer of use to those who wait behind it.
	time.AfterFunc(c.opts.DrainTimeout, func() {
		select {
		case <-call.done:
		default:
			c.fail(errLate)
		}
	})
	return cancelled(ctx, call.op)
}

func (c *Conn) do(ctx context.Context, req protocol.Request, body io.Reader, reply protocol.Reply) error {
	call, err := c.send(ctx, req, reply, true)
	if err != nil {
		return err
	}
	defer c.slots.Release(int64(c.opts.Window))
	finished := false
	defer func() {
		if !finished { // the handler panicked, or the body's reader did
			c.fail(errUnfinished)
		}
	}()
	uploaded := make(chan error, 1)
	if body == nil {
		uploaded <- nil
	} else {
		go func() { uploaded <- c.upload(call, body) }()
	}
	if err = c.wait(ctx, call); err == errLeft {
		err = cancelled(ctx, call.op)
		c.fail(err)
	} else if bodyErr := c.uploadEnd(ctx, uploaded); bodyErr != nil {
		err = bodyErr
	}
	finished = true
	return err
}

// uploadEnd waits until the body is no longer read. A reader that is stuck does not keep
// the caller longer than its context lives, nor at all when the connection is lost.
func (c *Conn) uploadEnd(ctx context.Context, uploaded <-chan error) error {
	select {
	case err := <-uploaded:
		return err
	case <-ctx.Done():
		c.fail(errUnfinished)
	case <-c.lost:
	}
	return nil
}

// upload sends a body in frames. When the daemon has answered before the end, with an
// error, the frames end there: the stream is then in step. A body that cannot be read to
// its end cannot be taken back either, so the connection is broken.
func (c *Conn) upload(call *call, body io.Reader) error {
	frames := wire.NewFrameWriter(&c.out)
	_, err := io.Copy(frames, &bodyReader{body, call.done})
	var failed *bodyError
	if errors.As(err, &failed) {
		c.fail(failed)
		return failed
	}
	frames.Close()
	return nil // what else went wrong is the connection's, and the call tells it
}

// A bodyError says that the caller's body could not be read.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading what was to be uploaded: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// A bodyReader reads a body until the call is done.
type bodyReader struct {
	body io.Reader
	done <-chan struct{}
}

func (b *bodyReader) Read(p []byte) (int, error) {
	select {
	case <-b.done:
		return 0, io.EOF
	default:
	}
	n, err := b.body.Read(p)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

// send takes the slots that the call needs and sends its request.
func (c *Conn) send(ctx context.Context, req protocol.Request, reply protocol.Reply, exclusive bool) (*call, error) {
	p, err := c.params.AppendRequest(nil, req)
	if err != nil {
		return nil, err
	}
	k := &call{op: req.Op(), reply: reply, exclusive: exclusive, done: make(chan struct{})}
	k.events.init(activity.HandlerOf(ctx), exclusive)
	slots := int64(1)
	if exclusive {
		slots = int64(c.opts.Window)
	}
	if ctx.Err() != nil || c.slots.Acquire(ctx, slots) != nil {
		return nil, cancelled(ctx, k.op)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		c.slots.Release(slots)
		return nil, &LostError{k.op, c.err}
	}
	c.pending = append(c.pending, k)
	c.out.put(p)
	return k, nil
}

// errLeft says that the caller does not wait any longer, because its context ended.
var errLeft = errors.New("left")

// wait waits for the answer and hands the events that come before it to the handler.
func (c *Conn) wait(ctx context.Context, k *call) error {
	for {
		select {
		case <-k.done:
			k.events.deliver()
			return k.err
		case <-k.events.ready:
			k.events.deliver()
		case <-ctx.Done():
			k.events.leave()
			return errLeft
		}
	}
}

// eventRoom is how many bytes of events may wait for the handler.
const eventRoom = 1 << 20

// An eventQueue takes events from the read loop to the caller. When it is full, those of
// a query are dropped, for its neighbours must not wait; those of an exclusive call make
// the read loop wait.
type eventQueue struct {
	handler activity.Handler // nil if nobody wants to know
	waits   bool
	ready   chan struct{} // has an element when there are events
	room    chan struct{} // has an element when the caller took some
	left    atomic.Bool

	mu      sync.Mutex
	events  []activity.Event
	size    int
	dropped int
}

func (q *eventQueue) init(h activity.Handler, waits bool) {
	q.handler, q.waits = h, waits
	if h != nil {
		q.ready, q.room = make(chan struct{}, 1), make(chan struct{}, 1)
	}
}

// push adds an event. It waits, if it must, until lost is closed.
func (q *eventQueue) push(e activity.Event, lost <-chan struct{}) {
	if q.handler == nil || q.left.Load() {
		return
	}
	for !q.add(e) {
		select {
		case <-q.room:
		case <-lost:
			return
		}
	}
	notify(q.ready)
}

// add adds an event, or drops it; it returns false if it must wait.
func (q *eventQueue) add(e activity.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := eventSize(e)
	if q.size > 0 && q.size+size > eventRoom {
		if !q.waits {
			q.dropped++
		}
		return !q.waits
	}
	q.events = append(q.events, e)
	q.size += size
	return true
}

// deliver hands all events to the handler, on the caller's goroutine.
func (q *eventQueue) deliver() {
	if q.handler == nil {
		return
	}
	for {
		q.mu.Lock()
		events, dropped := q.events, q.dropped
		q.events, q.size, q.dropped = nil, 0, 0
		q.mu.Unlock()
		notify(q.room)
		for _, e := range events {
			q.handler.HandleEvent(e)
		}
		if dropped > 0 {
			q.handler.HandleEvent(activity.Log{Text: droppedText(dropped)})
		}
		if len(events) == 0 {
			return
		}
	}
}

// leave drops what there is and what will come.
func (q *eventQueue) leave() {
	q.left.Store(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events, q.size = nil, 0
	if q.room != nil {
		notify(q.room)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
