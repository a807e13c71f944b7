package server

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// Serve serves one client until it hangs up, and closes nc. A hang-up is no error. When Serve returns,
// every goroutine of the connection has ended. Only a store that ignores its context keeps Serve
// from returning.
//
// The error says why the connection was closed: a [*protocol.MismatchError] if the other side
// does not speak the protocol, a [*protocol.Error] for a violation of it, [ErrStalled], a
// [*PanicError], [context.Cause] of ctx when ctx is done, or an error of nc. The client gets it
// too, if possible.
//
// The connection has a memory budget of its own. A [Server] has one for all its connections.
func Serve(ctx context.Context, nc net.Conn, s store.Store, opts *Options) error {
	return newConn(ctx, nc, s, opts, newMemory(0), owner{}).run()
}

// run serves the connection until the client hangs up, an error ends it, or the store panics. Then it
// waits for the goroutines of the connection.
func (c *conn) run() (err error) {
	returned := false
	defer func() {
		if !returned {
			err = c.panicked(recover())
		}
		err = c.finish(err)
	}()
	err = c.converse()
	returned = true
	return err
}

// finish releases everything that the connection has, and returns why it has ended. It may be
// called again.
func (c *conn) finish(err error) error {
	defer c.cancel(nil)
	defer c.stop()
	c.client.roots.Add(-c.roots)
	c.roots = 0
	c.mem.close()
	c.out.wait() // until the client has read everything, or stalls
	var panicked *PanicError
	if given := c.failure(); given != nil && !errors.As(err, &panicked) {
		err = given
	}
	c.fail(errClosed)
	c.in.readers.Wait()
	c.out.writers.Wait()
	c.out.mem.close()
	return withoutHangUp(err)
}

// withoutHangUp returns nil if err only says that the client has hung up.
func withoutHangUp(err error) error {
	if err == io.EOF || errors.Is(err, errHungUp) || errors.Is(err, io.ErrClosedPipe) || isReset(err) {
		return nil
	}
	return err
}

// requestBuffer is the size in bytes of a connection's read buffer.
const requestBuffer = 8 << 10

// converse shakes hands and answers requests, until there are no more.
func (c *conn) converse() error {
	c.reader = wire.NewReader(&c.in, requestBuffer)
	defer func() {
		if c.forget != nil {
			c.forget() // that the session is closed below is no reason to close the client's connection
		}
		if c.session != nil {
			c.session.Close()
		}
	}()
	if err := c.greet(); err != nil {
		return err
	}
	if c.refused != nil {
		return c.refuse(tellable(c.refused), c.refused)
	}
	if err := c.openSession(); err != nil {
		return c.refuse(tellable(err), err)
	}
	if err := c.out.send(c.replyBuffer(), false); err != nil { // as after the work on a request
		return err
	}
	defer func() {
		if c.archive != nil { // opened, but the client has gone
			c.archive.Close()
		}
	}()
	ctx := activity.WithHandler(context.WithValue(c.ctx, settingsKey{}, &c.settings), &c.tunnel)
	ctx = store.WithClosureBudget(ctx, c)
	for {
		if err := c.next(ctx); err != nil {
			return err
		}
	}
}

// next answers one request. An error ends the conversation.
func (c *conn) next(ctx context.Context) error {
	c.mem.release()
	if c.draining.Load() {
		return errDraining
	}
	if c.reader.Buffered() == 0 { // between requests a client may be silent for longer
		c.in.left, c.in.limit = -1, c.opts.IdleTimeout
		c.out.freeBuffers()
		if err := c.await(); err != nil {
			return early(err)
		}
	}
	c.startRequest()
	c.in.limit = c.opts.StallTimeout
	req, err := c.params.ReadRequest(c.reader)
	if err != nil {
		return c.refuse(unreadable(err), early(err))
	}
	c.in.left = -1
	return c.answer(ctx, req)
}

// await waits for the next request, unless the server shuts down.
func (c *conn) await() error {
	c.idle.Store(true)
	if c.draining.Load() {
		return errDraining
	}
	if c.isLost() { // upstreamBroke may have run before idle was set
		return c.lostUpstream()
	}
	err := c.reader.Peek()
	c.idle.Store(false)
	if c.draining.Load() { // drain may have interrupted the read
		return errDraining
	}
	return err
}

// refuse sends the client an error twice, as Nix does before it hangs up, and returns why. It sends
// nothing if the client has hung up.
func (c *conn) refuse(said *activity.Error, why error) error {
	if why == errHungUp || why == io.EOF {
		return why
	}
	c.out.put(c.tunnel.appendError(c.tunnel.appendError(nil, said), said))
	return why
}

// answer does what a request asks for.
func (c *conn) answer(ctx context.Context, req protocol.Request) error {
	do := handlers[req.Op()]
	if do == nil { // only operations that are not offered have none, and they are never read
		err := unsupported(req.Op().String())
		return c.refuse(tellable(err), err)
	}
	denied := c.restrict(req)
	if r, ok := denied.(*refusal); ok {
		return c.refuse(tellable(r), r)
	}
	body := c.body(req)
	if denied != nil {
		return c.failed(body, tellable(denied))
	}
	p, err := c.work(ctx, do, req, body)
	if err != nil && c.isLost() {
		c.tunnel.fail(tellable(err))
		return err
	}
	if err != nil {
		return c.failed(body, tellable(c.nixError(req, err)))
	}
	if err := body.end(); err != nil {
		return c.refuse(unreadable(err), early(err))
	}
	c.chargeReply(p)
	if err := c.tunnel.reply(p, c.archive == nil && c.reader.Buffered() > 0); err != nil {
		return err
	}
	c.keepBuffer(p)
	return c.sendArchive()
}

// work does the work on a request, and returns the encoded reply.
func (c *conn) work(ctx context.Context, do handler, req protocol.Request, body *body) ([]byte, error) {
	if err := c.admit(req); err != nil {
		return nil, err
	}
	c.tunnel.startWork()
	reply, err := c.callStore(ctx, do, req, body)
	if err != nil {
		return nil, err
	}
	n := replySize(reply)
	if n > freeReply && c.tryAcquire(c.mem.requests, n) != nil {
		// Many connections may wait here. Those with a query do not keep the reply of the store
		// meanwhile, and ask again. The memory of many infos is acquired already.
		repeat := protocol.IsQuery(req) && n > costOf(req).bytes && req.Op() != protocol.QueryPathInfos
		if repeat {
			reply = nil
		}
		if err := c.acquire(c.mem.requests, n); err != nil {
			return nil, err
		}
		if repeat {
			if reply, err = c.callStore(ctx, do, req, body); err != nil {
				return nil, err
			}
		}
	}
	p := c.replyBuffer()
	if n > freeReply {
		p = slices.Grow(p, int(n)+freeReply)
	}
	return c.params.AppendReply(p, req.Op(), reply)
}

// watch watches for a client that hangs up during the work on a request.
func (c *conn) watch(req protocol.Request, body *body) {
	delay, ahead := watchDelay, smallAhead
	if protocol.IsQuery(req) {
		delay = queryWatchDelay
	}
	if body.Reader != nil {
		ahead = uploadAhead
	}
	c.in.watch(delay, ahead)
}

// callStore asks Options.Before and calls the handler. A client that hangs up meanwhile is noticed.
func (c *conn) callStore(ctx context.Context, do handler, req protocol.Request, body *body) (protocol.Reply, error) {
	c.watch(req, body)
	defer c.in.unwatch()
	if err := c.checkOldTrust(req); err != nil {
		return nil, err
	}
	if c.opts.Before != nil {
		if err := c.opts.Before(ctx, req); err != nil {
			return nil, err
		}
	}
	return do(c, ctx, req, body)
}

// keptBuffer is the size in bytes of the largest buffer for replies that a connection keeps.
const keptBuffer = 8 << 10

// replyBuffer returns a buffer with the message that ends the work, to which the reply is
// appended.
func (c *conn) replyBuffer() []byte {
	return wire.AppendUint64(c.buf[:0], uint64(protocol.MessageLast))
}

// keepBuffer keeps the buffer of a reply for the next one.
func (c *conn) keepBuffer(p []byte) {
	if cap(p) <= keptBuffer {
		c.buf = p
	}
}

// failed ends the work on a request with an error. A client that sends frames gets it while it
// still sends, and may stop. Any other client cannot stop, and gets it when it has sent
// everything.
func (c *conn) failed(b *body, said *activity.Error) error {
	if b.whole {
		if err := b.end(); err != nil {
			return c.refuse(said, early(err))
		}
	}
	if err := c.tunnel.fail(said); err != nil {
		return err
	}
	return early(b.end())
}

// errDraining is why a connection ends that was between two requests when the server shut
// down.
var errDraining = errors.New("the server is shutting down")

// drain ends the connection as soon as it is between two requests. The client may not have read the
// last reply yet, so drain only interrupts the wait for the next request, and finish delivers the
// reply.
func (c *conn) drain() {
	c.draining.Store(true)
	if c.greeting.Load() || c.idle.Load() && c.nc.SetReadDeadline(time.Unix(1, 0)) != nil {
		c.fail(errDraining)
	}
}
