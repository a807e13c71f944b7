package server

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// Serve serves one client until it hangs up, and closes nc. A hang-up is not an error. When Serve returns,
// every goroutine of the connection has ended. If a store ignores its context, Serve waits for it.
//
// The error says why the connection was closed: a [*protocol.MismatchError] if the other side
// does not speak the protocol, a [*protocol.Error] for a violation of it, [ErrStalled], a
// [*PanicError], [context.Cause] of ctx when ctx is done, or an error of nc. The client gets it
// too, if possible.
//
// The connection has its own memory budget. The connections of a [Server] share one.
func Serve(ctx context.Context, nc net.Conn, s store.Store, opts *Options) error {
	return newConn(ctx, nc, s, opts, newMemory(0), owner{}).run()
}

// run serves the connection until the client hangs up, an error ends it, or the store panics.
// Then it waits for the goroutines of the connection.
func (c *conn) run() (err error) {
	returned := false
	defer func() {
		if !returned {
			err = c.panicked(recover())
		}
		err = c.finish(err)
	}()
	err = c.serveRequests()
	returned = true
	return err
}

// finish waits until the client has read everything, releases all resources of the connection,
// and returns why it has ended. It may be called again.
func (c *conn) finish(err error) error {
	defer c.cancel(nil)
	defer c.unwatchContext()
	c.user.roots.Add(-c.roots)
	c.roots = 0
	c.mem.close()
	c.out.waitWritten() // until the client has read everything, or stalls
	var panicked *PanicError
	if given := c.abortReason(); given != nil && !errors.As(err, &panicked) {
		err = given
	}
	c.abort(errClosed)
	c.in.readers.Wait()
	c.out.writers.Wait()
	c.out.account.close()
	return ignoreHangUp(err)
}

// ignoreHangUp returns nil if err reports only that the client has hung up.
func ignoreHangUp(err error) error {
	if err == io.EOF || errors.Is(err, errHungUp) || errors.Is(err, io.ErrClosedPipe) || isReset(err) {
		return nil
	}
	return err
}

// requestBuffer is the size in bytes of a connection's read buffer.
const requestBuffer = 8 << 10

// serveRequests performs the handshake and answers requests until the connection ends.
func (c *conn) serveRequests() error {
	c.reader = wire.NewReader(&c.in, requestBuffer)
	defer func() {
		if c.unwatchUpstream != nil {
			c.unwatchUpstream() // closing the session below must not close the client's connection
		}
		if c.session != nil {
			c.session.Close()
		}
	}()
	if err := c.greet(); err != nil {
		return err
	}
	if c.refused != nil {
		return c.reject(clientError(c.refused), c.refused)
	}
	if err := c.openSession(); err != nil {
		return c.reject(clientError(err), err)
	}
	if err := c.out.writeNow(c.replyBuffer(), false); err != nil { // end of the handshake, like the end of the work on a request
		return err
	}
	defer func() {
		if c.archive != nil { // opened, but not sent
			c.archive.Close()
		}
	}()
	ctx := activity.WithHandler(context.WithValue(c.ctx, settingsKey{}, &c.settings), &c.tunnel)
	ctx = store.WithClosureBudget(ctx, c)
	for {
		if err := c.serveRequest(ctx); err != nil {
			return err
		}
	}
}

// serveRequest reads and answers one request. An error ends the connection.
func (c *conn) serveRequest(ctx context.Context) error {
	c.mem.release()
	if c.stopping.Load() {
		return errStopping
	}
	if c.reader.Buffered() == 0 { // between requests a client may be silent for longer
		c.in.remaining, c.in.maxWait = -1, c.opts.IdleTimeout
		c.out.freeBuffers()
		if err := c.awaitRequest(); err != nil {
			return asHangUp(err)
		}
	}
	c.startRequest()
	c.in.maxWait = c.opts.StallTimeout
	req, err := c.params.ReadRequest(c.reader)
	if err != nil {
		return c.reject(readError(err), asHangUp(err))
	}
	c.in.remaining = -1
	return c.answer(ctx, req)
}

// awaitRequest waits for the next request. It fails if the server shuts down.
func (c *conn) awaitRequest() error {
	c.idle.Store(true)
	if c.stopping.Load() {
		return errStopping
	}
	if c.isLost() { // upstreamBroke may have run before idle was set
		return c.upstreamError()
	}
	err := c.reader.Peek()
	c.idle.Store(false)
	if c.stopping.Load() { // stopWhenIdle may have interrupted the read
		return errStopping
	}
	return err
}

// reject sends the client an error twice, as Nix does before it hangs up, and returns why. It
// sends nothing if the client has hung up.
func (c *conn) reject(e *activity.Error, why error) error {
	if why == errHungUp || why == io.EOF {
		return why
	}
	c.out.queue(c.tunnel.appendError(c.tunnel.appendError(nil, e), e))
	return why
}

// answer handles a request and sends the reply. Steps before the work may reject it: see
// [conn.restrict].
func (c *conn) answer(ctx context.Context, req protocol.Request) error {
	h := handlers[req.Op()]
	if h == nil { // cannot happen: ReadRequest accepts only offered operations, and each has a handler
		err := unsupportedOperation(req.Op().String())
		return c.reject(clientError(err), err)
	}
	denied := c.restrict(req)
	if r, ok := denied.(*rejection); ok {
		return c.reject(clientError(r), r)
	}
	body := c.body(req)
	if denied != nil {
		return c.failRequest(body, clientError(denied))
	}
	p, err := c.handle(ctx, h, req, body)
	if err != nil && c.isLost() {
		c.tunnel.sendError(clientError(err))
		return err
	}
	if err != nil {
		return c.failRequest(body, clientError(c.nixError(req, err)))
	}
	if err := body.drain(); err != nil {
		return c.reject(readError(err), asHangUp(err))
	}
	c.chargeReply(p)
	if err := c.tunnel.sendReply(p, c.archive != nil || c.reader.Buffered() > 0); err != nil {
		return err
	}
	c.keepBuffer(p)
	return c.sendArchive()
}

// handle does the work on a request and returns the encoded reply.
func (c *conn) handle(ctx context.Context, h handler, req protocol.Request, body *body) ([]byte, error) {
	if err := c.admit(req); err != nil {
		return nil, err
	}
	c.tunnel.startWork()
	reply, err := c.callStore(ctx, h, req, body)
	if err != nil {
		return nil, err
	}
	n := replySize(reply)
	if n > freeReply && c.tryAcquire(c.mem.requests, n) != nil {
		// Many connections may wait here. So a query drops the reply of the store before it waits,
		// and repeats the call afterwards. QueryPathInfos has acquired its memory already.
		repeat := protocol.IsQuery(req) && n > costOf(req).bytes && req.Op() != protocol.QueryPathInfos
		if repeat {
			reply = nil
		}
		if err := c.acquire(c.mem.requests, n); err != nil {
			return nil, err
		}
		if repeat {
			if reply, err = c.callStore(ctx, h, req, body); err != nil {
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

// watch starts to look for a hang-up of the client during the work on a request.
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

// callStore calls Options.Before and the handler. If the client hangs up, the context is
// cancelled.
func (c *conn) callStore(ctx context.Context, h handler, req protocol.Request, body *body) (protocol.Reply, error) {
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
	return h(c, ctx, req, body)
}

// keptBuffer is the largest size in bytes of a reply buffer that a connection keeps.
const keptBuffer = 8 << 10

// replyBuffer returns a buffer that begins with the message Last. The reply is appended to it.
func (c *conn) replyBuffer() []byte {
	return wire.AppendUint64(c.buf[:0], uint64(protocol.MessageLast))
}

// keepBuffer keeps the buffer of a reply for the next one.
func (c *conn) keepBuffer(p []byte) {
	if cap(p) <= keptBuffer {
		c.buf = p
	}
}

// failRequest ends the work on a request with an error. A client that sends frames gets the
// error at once, since it may stop sending. Any other client cannot stop, and gets the error
// after it has sent everything.
func (c *conn) failRequest(b *body, e *activity.Error) error {
	if b.unframed {
		if err := b.drain(); err != nil {
			return c.reject(e, asHangUp(err))
		}
	}
	if err := c.tunnel.sendError(e); err != nil {
		return err
	}
	return asHangUp(b.drain())
}

// errStopping is the reason for closing a connection between two requests when the server shuts
// down.
var errStopping = errors.New("the server is shutting down")

// stopWhenIdle ends the connection as soon as it is between two requests. The client may not
// have read the last reply yet. So stopWhenIdle only interrupts the wait for the next request,
// and finish delivers the reply.
func (c *conn) stopWhenIdle() {
	c.stopping.Store(true)
	if c.greeting.Load() || c.idle.Load() && c.nc.SetReadDeadline(time.Unix(1, 0)) != nil {
		c.abort(errStopping)
	}
}

// isReset reports whether err means that the client closed the connection before it had read
// everything.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}
