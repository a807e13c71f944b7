package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"pix/activity"
	"pix/protocol"
)

var (
	errUnasked    = errors.New("it was not requested")
	errLate       = errors.New("the answer to a cancelled query did not come in time")
	errUnfinished = errors.New("a call ended before its answer was there")
)

// A call is an operation under way.
type call struct {
	op        protocol.Op
	req       protocol.Request
	reply     protocol.Reply
	exclusive bool
	body      bool // something follows the request
	events    eventQueue

	// asks has how many bytes the daemon asks for, for an upload that the daemon asks for piece by piece.
	asks chan uint64
	// archive is closed when the archive that follows the reply was read, or given up. Until
	// then the read loop leaves the stream to the caller. Nil where none follows.
	archive chan struct{}

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

// ask sends a request and waits for the reply: behind other queries if it is one and the connection is
// shared, else with the connection for itself.
func ask[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request) (reply R, err error) {
	into := new(R)
	if err := c.askInto(ctx, req, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

// askInto does the same with a new reply. After a cancellation the read loop may still write to it.
func (c *Conn) askInto(ctx context.Context, req protocol.Request, reply protocol.Reply) error {
	if c.alone || !protocol.IsQuery(req) {
		return c.do(ctx, req, nil, reply)
	}
	return c.roundTrip(ctx, req, reply)
}

// upload sends a request that has the connection for itself, and its body if there is one,
// and waits for the reply.
func upload[R any, P replyTo[R]](ctx context.Context, c *Conn, req protocol.Request, b body) (reply R, err error) {
	into := new(R)
	if err := c.do(ctx, req, b, P(into)); err != nil {
		return reply, err
	}
	return *into, nil
}

// roundTrip sends a query behind other queries and waits for the reply. If ctx ends first, the reply is
// read and dropped when it comes.
func (c *Conn) roundTrip(ctx context.Context, req protocol.Request, reply protocol.Reply) error {
	k, err := c.send(ctx, req, reply, false)
	if err != nil {
		return err
	}
	left := true
	defer func() {
		if left { // also when the handler panics
			k.events.leave()
			c.drain(k)
		}
	}()
	if err := c.wait(ctx, k); err != errLeft {
		left = false
		return err
	}
	return cancelled(ctx, k.op)
}

// drain breaks the connection if the answer to a call whose caller has left does not come within
// DrainTimeout: the calls behind it cannot be answered before.
func (c *Conn) drain(k *call) {
	time.AfterFunc(c.opts.DrainTimeout, func() {
		select {
		case <-k.done:
		default:
			c.fail(errLate)
		}
	})
}

func (c *Conn) do(ctx context.Context, req protocol.Request, b body, reply protocol.Reply) error {
	k, err := c.send(ctx, req, reply, true)
	if err != nil {
		return err
	}
	defer c.leaveAlone()
	return c.await(ctx, k, b)
}

// await uploads the body of a call that was sent, and waits for its answer.
func (c *Conn) await(ctx context.Context, k *call, b body) error {
	var s *sender
	if b != nil {
		s = c.startSender(k, b)
	}
	waited := false
	defer func() {
		if !waited { // the handler panicked
			c.abort(ctx, k, s, errUnfinished)
		}
	}()
	err := c.wait(ctx, k)
	waited = true
	if err == errLeft {
		err = cancelled(ctx, k.op)
		c.abort(ctx, k, s, err)
		return err
	}
	if s == nil {
		return err
	}
	return s.result(ctx, err)
}

// abort ends a call before its answer, by breaking the connection.
func (c *Conn) abort(ctx context.Context, k *call, s *sender, why error) {
	c.fail(why)
	k.finish(why)
	if s != nil {
		s.join(ctx)
	}
}

// check returns an error if the daemon would certainly refuse the request, before anything is sent.
func (c *Conn) check(req protocol.Request) error {
	if err := c.params.Check(req.Op()); err != nil {
		return err
	}
	if c.Trust() == protocol.NotTrusted && c.params.NeedsTrust(req) {
		return &protocol.TrustError{Op: req.Op()}
	}
	return nil
}

// newCall encodes a request after check has accepted it.
func (c *Conn) newCall(ctx context.Context, dst []byte, req protocol.Request, reply protocol.Reply, exclusive bool) ([]byte, *call, error) {
	if err := c.check(req); err != nil {
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
		k.body = form != protocol.NoBody
		if form == protocol.AskedBody {
			k.asks = make(chan uint64, 1)
		}
		if row.Archive {
			k.archive = make(chan struct{})
		}
	}
	return dst, k, nil
}

// send takes the slots that the call needs and sends its request.
func (c *Conn) send(ctx context.Context, req protocol.Request, reply protocol.Reply, exclusive bool) (*call, error) {
	p, k, err := c.newCall(ctx, nil, req, reply, exclusive)
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
	if err := c.post(p, k); err != nil {
		c.slots.Release(slots)
		return nil, &LostError{k.op, err}
	}
	return k, nil
}

// post hands encoded requests to the writer, and enters their calls among those that wait
// for an answer. The error is why the connection is broken.
func (c *Conn) post(p []byte, calls ...*call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	for _, k := range calls {
		if keeps(k.op) {
			c.hasRoots.Store(true)
		}
		c.opts.trace.request(c.params, k.req) // here, in the order in which they are sent
	}
	c.pending = append(c.pending, calls...)
	c.out.put(p)
	return nil
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
