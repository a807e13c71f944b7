package daemon

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"pix/activity"
	"pix/protocol"
)

var (
	errUnrequested  = errors.New("it was not requested")
	errDrainTimeout = errors.New("the answer to a cancelled query did not come in time")
	errUnfinished   = errors.New("a call ended before its answer")
)

// A call is a running operation.
type call struct {
	op        protocol.Op
	req       protocol.Request
	reply     protocol.Reply
	exclusive bool
	hasBody   bool // a body follows the request
	events    eventQueue

	// demands receives the number of bytes that the daemon asks for, if it asks for the body
	// piece by piece.
	demands chan uint64
	// archive is closed when the archive after the reply has been read or abandoned. Until then
	// readLoop leaves the stream to the caller. It is nil if no archive follows.
	archive chan struct{}

	once sync.Once
	done chan struct{} // closed when err and reply are set
	err  error
}

func (k *call) resolve(err error) {
	k.once.Do(func() {
		k.err = err
		close(k.done)
	})
}

// replyTo is a pointer type to a reply R.
type replyTo[R any] interface {
	*R
	protocol.Reply
}

// invoke sends a request and waits for the reply. A query on a shared connection is pipelined.
// Every other call is exclusive.
func invoke[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request) (reply R, err error) {
	into := new(R)
	if err := c.invokeInto(ctx, req, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

// invokeInto does the same and stores the reply. After a cancellation readLoop may still write
// to reply.
func (c *Conn) invokeInto(ctx context.Context, req protocol.Request, reply protocol.Reply) error {
	if c.exclusiveOnly || !protocol.IsQuery(req) {
		return c.roundTripExclusive(ctx, req, nil, reply)
	}
	return c.roundTrip(ctx, req, reply)
}

// upload sends an exclusive request and its body, and waits for the reply. b is nil if there is
// no body.
func upload[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request, b body) (reply R, err error) {
	into := new(R)
	if err := c.roundTripExclusive(ctx, req, b, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

// roundTrip sends a query without waiting for other queries, and waits for the reply. If ctx
// ends first, the reply is read and dropped later.
func (c *Conn) roundTrip(ctx context.Context, req protocol.Request, reply protocol.Reply) error {
	k, err := c.send(ctx, req, reply, false)
	if err != nil {
		return err
	}
	left := true
	defer func() {
		if left { // also if the handler panics
			k.events.discard()
			c.startDrainTimeout(k)
		}
	}()
	if err := c.awaitAnswer(ctx, k); err != errCallerGone {
		left = false
		return err
	}
	return cancelled(ctx, k.op)
}

// startDrainTimeout breaks the connection if the answer to an abandoned call does not come
// within DrainTimeout. The calls after it cannot be answered before.
func (c *Conn) startDrainTimeout(k *call) {
	time.AfterFunc(c.opts.DrainTimeout, func() {
		select {
		case <-k.done:
		default:
			c.fail(errDrainTimeout)
		}
	})
}

func (c *Conn) roundTripExclusive(ctx context.Context, req protocol.Request, b body, reply protocol.Reply) error {
	k, err := c.send(ctx, req, reply, true)
	if err != nil {
		return err
	}
	defer c.releaseExclusive()
	return c.await(ctx, k, b)
}

// await sends the body of a call and waits for its answer.
func (c *Conn) await(ctx context.Context, k *call, b body) error {
	var s *sender
	if b != nil {
		s = c.startSender(k, b)
	}
	waited := false
	defer func() {
		if !waited { // the handler has panicked
			c.abort(ctx, k, s, errUnfinished)
		}
	}()
	err := c.awaitAnswer(ctx, k)
	waited = true
	if err == errCallerGone {
		err = cancelled(ctx, k.op)
		c.abort(ctx, k, s, err)
		return err
	}
	if s == nil {
		return err
	}
	return s.result(ctx, err)
}

// abort ends a call before its answer, and breaks the connection.
func (c *Conn) abort(ctx context.Context, k *call, s *sender, why error) {
	c.fail(why)
	k.resolve(why)
	if s != nil {
		s.join(ctx)
	}
}

// checkSupported returns an error if the daemon would refuse the request. Nothing has been sent
// then.
func (c *Conn) checkSupported(req protocol.Request) error {
	if err := c.params.Check(req.Op()); err != nil {
		return err
	}
	if c.Trust() == protocol.NotTrusted && c.params.NeedsTrust(req) {
		return &protocol.TrustError{Op: req.Op()}
	}
	return nil
}

// newCall checks and encodes a request. It appends the encoded request to dst.
func (c *Conn) newCall(ctx context.Context, dst []byte, req protocol.Request, reply protocol.Reply, exclusive bool) ([]byte, *call, error) {
	if err := c.checkSupported(req); err != nil {
		return dst, nil, err
	}
	dst, err := c.params.AppendRequest(dst, req)
	if err != nil {
		return dst, nil, err
	}
	k := &call{op: req.Op(), req: req, reply: reply, exclusive: exclusive, done: make(chan struct{})}
	k.events.init(activity.HandlerOf(ctx), exclusive, c)
	if row, _ := protocol.Lookup(k.op); exclusive {
		form := row.Body(c.params)
		k.hasBody = form != protocol.NoBody
		if form == protocol.AskedBody {
			k.demands = make(chan uint64, 1)
		}
		if row.Archive {
			k.archive = make(chan struct{})
		}
	}
	return dst, k, nil
}

// usualRequest is a number of bytes that suffices for most requests.
const usualRequest = 256

// send acquires the slots for a call and queues its request. A query may be made inline: then
// it is answered when send returns.
func (c *Conn) send(ctx context.Context, req protocol.Request, reply protocol.Reply, exclusive bool) (*call, error) {
	p, k, err := c.newCall(ctx, make([]byte, 0, usualRequest), req, reply, exclusive)
	if err != nil {
		return nil, err
	}
	slots := int64(1)
	if exclusive {
		slots = int64(c.opts.Window)
	}
	if err := c.acquireSlots(ctx, k.op, slots); err != nil {
		return nil, err
	}
	if !exclusive && c.startInline(k) && c.runInline(ctx, p, k) {
		return k, nil
	}
	if err := c.enqueue(ctx, p, k); err != nil {
		c.slots.Release(slots)
		return nil, &LostError{k.op, err}
	}
	return k, nil
}

// enqueue adds calls to the pending ones, and their encoded requests to the outbox. The error
// is the reason why the connection is broken.
func (c *Conn) enqueue(ctx context.Context, p []byte, calls ...*call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startReading(ctx)
	if c.err != nil {
		return c.err
	}
	for _, k := range calls {
		if createsRoots(k.op) {
			c.hasRoots.Store(true)
		}
		c.opts.trace.request(c.params, k.req) // traced in the order of sending
	}
	c.pending = append(c.pending, calls...)
	c.out.queue(p)
	return nil
}

// errCallerGone means that the caller no longer waits, because its context has ended.
var errCallerGone = errors.New("left")

// awaitAnswer waits for the answer, and passes the events before it to the handler.
func (c *Conn) awaitAnswer(ctx context.Context, k *call) error {
	for {
		select {
		case <-k.done:
			k.events.deliver()
			return k.err
		case <-k.events.ready:
			k.events.deliver()
		case <-ctx.Done():
			k.events.discard()
			return errCallerGone
		}
	}
}

// An outbox queues requests and decides which goroutine may write. Requests are queued without
// waiting: their number is limited by the slots of the connection. The body of an upload is
// written by the goroutine that uploads, with nothing in between.
type outbox struct {
	nc net.Conn

	mu      sync.Mutex
	changed sync.Cond // something below has changed
	buf     []byte
	spare   []byte // the previous buf, for reuse
	writing bool   // a goroutine is writing to nc
	closed  bool
	err     error // the error of a failed write
}

func (o *outbox) init(nc net.Conn) {
	o.nc = nc
	o.changed.L = &o.mu
}

// queue appends p without waiting. It does not write, even if no goroutine is writing.
// writeLoop runs as soon as the caller waits for its answer. This costs a single query no time,
// as measured, and sends several queries together.
func (o *outbox) queue(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	o.changed.Broadcast()
}

// Write writes p after everything that is queued, without copying it. It implements io.Writer
// for uploads. If writing fails, it returns [ErrConnLost], and failure returns the reason.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	for (o.writing || len(o.buf) > 0) && !o.closed {
		o.changed.Wait()
	}
	if o.closed {
		o.mu.Unlock()
		return 0, ErrConnLost
	}
	o.writing = true
	o.mu.Unlock()
	n, err := o.nc.Write(p)
	if err != nil {
		o.setError(err)
		return n, ErrConnLost
	}
	o.doneWriting()
	return n, nil
}

// startWriting lets the caller write without waiting. It returns false if bytes are queued or
// another goroutine writes.
func (o *outbox) startWriting() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.writing || len(o.buf) > 0 || o.closed {
		return false
	}
	o.writing = true
	return true
}

// finishWriting ends what startWriting began. writeLoop writes the rest before everything that
// was queued in the meantime.
func (o *outbox) finishWriting(rest []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	if len(rest) > 0 {
		o.buf = append(rest, o.buf...)
	}
	if len(o.buf) > 0 { // waking writeLoop for nothing costs as much as the query
		o.changed.Broadcast()
	}
}

// nextBuffer waits for queued bytes and returns them, or nil when the outbox is closed. After
// it has written them, the caller must call doneWriting.
func (o *outbox) nextBuffer() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.writing || len(o.buf) == 0) && !o.closed {
		o.changed.Wait()
	}
	if o.closed {
		return nil
	}
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	o.writing = true
	return full
}

// doneWriting allows another goroutine to write.
func (o *outbox) doneWriting() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	const keep = 1 << 20 // largest buffer to keep, in bytes
	if cap(o.spare) > keep {
		o.spare = nil
	}
	o.changed.Broadcast()
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
}

// setError closes the outbox after a failed write.
func (o *outbox) setError(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.closed {
		o.err = err
	}
	o.closed = true
	o.changed.Broadcast()
}

// failure returns the error of a failed write, or nil.
func (o *outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// writeLoop writes the outbox until it is closed.
func (c *Conn) writeLoop() {
	defer c.workers.Done()
	for p := c.out.nextBuffer(); p != nil; p = c.out.nextBuffer() {
		if _, err := c.nc.Write(p); err != nil {
			c.out.setError(err)
			break
		}
		c.out.doneWriting()
	}
	if err := c.out.failure(); err != nil {
		c.writeFailed(err)
	}
}

// writeFailed breaks the connection after a delay: readLoop must first read an error that the
// daemon may have sent before it closed its end.
func (c *Conn) writeFailed(err error) {
	late := time.NewTimer(c.opts.DrainTimeout)
	defer late.Stop()
	select {
	case <-c.lost:
	case <-late.C:
		c.fail(err)
	}
}
