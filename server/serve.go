package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/protocol"
	"pix/store"
	"pix/wire"
)

// Serve serves one client until it hangs up, which is no error, and closes nc. When it
// returns, all that belongs to the connection has ended; only a store that does not heed
// its context keeps it from returning.
//
// The error says why the connection was given up: a [*protocol.MismatchError] if the other
// side is no client, a [*protocol.Error] for what is not of the protocol, [ErrStalled],
// [context.Cause] of ctx when that is done, or that of nc. The client was told, if that
// was possible.
func Serve(ctx context.Context, nc net.Conn, s store.Store, opts *Options) error {
	return newConn(ctx, nc, s, opts, new(shared)).run()
}

func newConn(ctx context.Context, nc net.Conn, s store.Store, opts *Options, sh *shared) *conn {
	o := opts.withDefaults()
	c := &conn{nc: nc, opts: o, store: s, shared: sh, client: new(client), ended: make(chan struct{})}
	c.trusted = o.Trusted && trustOf(true, s) != protocol.NotTrusted
	c.privileged = c.trusted
	c.in.init(nc, func() { c.fail(ErrStalled) }, func() { c.cancel(errHungUp) })
	c.in.more, c.in.before, c.in.late = c.moreRequest, c.out.sendHeld, c.out.kick
	c.out.init(nc, o.StallTimeout, func() { c.fail(ErrStalled) }, c.fail)
	c.tunnel.giveUp = func() { c.fail(ErrStalled) }
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.stop = context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	return c
}

// ErrStalled says that a client was silent, or took nothing, for longer than the options
// allow.
var ErrStalled = errors.New("the client has stalled")

// A conn is one client's connection.
type conn struct {
	nc      net.Conn
	opts    Options
	store   store.Store // the connection's session, if the store has sessions
	session store.Store // the same, to be closed with the connection; nil if there is none
	trusted bool        // by this server
	client  *client     // shared with the other connections of the same user, if a Server knows of them
	roots   int64       // how many of the client's are this connection's
	refused error       // the client gets this error and is not served

	upstream    upstream // the store of another daemon; nil in front of any other
	unreachable error    // why the client could not be connected to that daemon
	privileged  bool     // trusted by this server and, unless that is unknown, by the daemon behind

	ctx    context.Context // of all operations; done when the client has hung up
	cancel context.CancelCauseFunc
	stop   func() bool // forgets the context that the connection was given

	shared   *shared
	lane     lane        // of the request
	resting  atomic.Bool // between two requests
	draining atomic.Bool // there is to be no next request

	in  inbox
	out outbox

	reader   *wire.Reader
	params   protocol.Params
	tunnel   tunnel
	settings settingsHolder
	room     []byte        // for the next answer
	archive  io.ReadCloser // to be sent after the reply

	mu    sync.Mutex
	err   error
	ended chan struct{} // closed when err is set
}

// fail gives the connection up at once.
func (c *conn) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = why
	close(c.ended)
	c.cancel(why)
	c.in.close(why)
	c.out.close()
	c.nc.Close()
}

// failure returns why the connection was given up, or nil.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// errHungUp is why an operation is cancelled whose client has gone.
var errHungUp = errors.New("the client has hung up")

// run serves the connection, and waits for all that belongs to it when the client is done.
func (c *conn) run() error {
	defer c.cancel(nil)
	defer c.stop()
	err := c.converse()
	c.client.roots.Add(-c.roots)
	c.out.flush() // the last words reach the client, or it stalls
	c.endRequest()
	if given := c.failure(); given != nil {
		err = given
	}
	c.fail(errClosed)
	c.in.readers.Wait()
	c.out.writers.Wait()
	return withoutHangUp(err)
}

// withoutHangUp returns nil for the ways in which a client may simply go.
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
	if err := c.out.send(c.answerRoom(), false); err != nil { // as after the work on a request
		return err
	}
	defer func() {
		if c.archive != nil { // opened, but the client has gone
			c.archive.Close()
		}
	}()
	ctx := activity.WithHandler(context.WithValue(c.ctx, settingsKey{}, &c.settings), &c.tunnel)
	for {
		if err := c.next(ctx); err != nil {
			return err
		}
	}
}

// openSession makes a session of the store the client's own, if it has sessions. In front of another
// daemon the handshake has done that, or failed to.
func (c *conn) openSession() error {
	sessions, ok := store.As[store.Sessioner](c.store)
	if c.unreachable != nil || c.session != nil || !ok {
		return c.unreachable
	}
	s, err := sessions.Session(c.ctx)
	if err == nil {
		c.store, c.session = s, s
	}
	return err
}

// greet shakes hands, unless the server shuts down: whoever has said nothing yet waits for nothing.
func (c *conn) greet() error {
	c.resting.Store(true)
	defer c.resting.Store(false)
	if c.draining.Load() {
		return errDraining
	}
	return c.handshake()
}

func (c *conn) handshake() error {
	tooLate := time.AfterFunc(time.Hour, func() { c.fail(ErrStalled) })
	defer tooLate.Stop()
	wait := func() {
		if tooLate.Stop(); c.opts.HandshakeTimeout > 0 {
			tooLate.Reset(c.opts.HandshakeTimeout)
		}
	}
	wait()
	c.in.left = c.firstRoom()
	params, err := protocol.ServerHandshakeFunc(c.reader, sender{&c.out}, c.store.Dir(), c.opts.Version, func() (protocol.Greeting, protocol.Features) {
		if c.refused == nil {
			tooLate.Stop() // it is not the client that takes this time
			c.unreachable = c.connect()
			wait()
		}
		return protocol.Greeting{NixVersion: c.opts.NixVersion, Trust: c.trust()}, c.features()
	})
	if err != nil {
		return early(err)
	}
	c.params = params
	c.tunnel.params, c.tunnel.out, c.tunnel.settings = params, &c.out, &c.settings
	return nil
}

// early makes the end of the stream in the middle of something what it is at its
// beginning: the client has gone.
func early(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errHungUp
	}
	return err
}

// next answers one request. An error ends the conversation.
func (c *conn) next(ctx context.Context) error {
	c.endRequest()
	if c.draining.Load() {
		return errDraining
	}
	if c.reader.Buffered() == 0 { // between requests a client may be silent for longer
		c.in.left, c.in.patient = -1, c.opts.IdleTimeout
		c.out.rest()
		if err := c.await(); err != nil {
			return early(err)
		}
	}
	c.in.left, c.in.patient = c.firstRoom(), c.opts.StallTimeout
	req, err := c.params.ReadRequest(c.reader)
	if err != nil {
		return c.refuse(unreadable(err), early(err))
	}
	c.in.left = -1
	c.calm()
	return c.answer(ctx, req)
}

// refuse tells the client an error twice, as Nix does before it hangs up, and returns
// why. A client that has gone is told nothing.
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
	if do == nil { // only what is not offered has none, and that is never read
		err := unsupported(req.Op().String())
		return c.refuse(tellable(err), err)
	}
	if err := c.checkTrust(req); err != nil {
		return c.refuse(tellable(err), err)
	}
	body := c.body(req)
	c.tunnel.startWork()
	if protocol.IsQuery(req) {
		c.in.watch(queryWatchDelay)
	} else {
		c.in.watch(watchDelay)
	}
	reply, err := c.work(ctx, do, req, body)
	c.in.unwatch()
	if err != nil && c.isLost() {
		c.tunnel.fail(tellable(err))
		return err
	}
	p := c.answerRoom()
	if err == nil {
		p, err = c.params.AppendReply(p, req.Op(), reply)
	}
	if err != nil {
		return c.failed(body, tellable(c.inWordsOfNix(req, err)))
	}
	if err := body.end(); err != nil {
		return c.refuse(unreadable(err), early(err))
	}
	c.hurry(int64(len(p)))
	if err := c.tunnel.reply(p, c.archive == nil && c.reader.Buffered() > 0); err != nil {
		return err
	}
	c.keepRoom(p)
	return c.sendArchive()
}

// keptRoom is the size in bytes of the largest buffer for answers that a connection keeps.
const keptRoom = 8 << 10

// answerRoom returns a buffer in which the message stands that ends the work, and to which the
// reply is appended.
func (c *conn) answerRoom() []byte {
	return wire.AppendUint64(c.room[:0], uint64(protocol.MessageLast))
}

// keepRoom keeps the buffer of an answer for the next one.
func (c *conn) keepRoom(p []byte) {
	if cap(p) <= keptRoom {
		c.room = p
	}
}

// failed ends the work on a request with an error. Within frames the client learns of it
// while it still sends, and may stop; else it learns of it when it has sent everything,
// as it cannot stop.
func (c *conn) failed(b *body, said *activity.Error) error {
	if b.whole {
		if err := b.end(); err != nil {
			return c.refuse(said, early(err))
		}
	}
	c.hurry(0)
	if err := c.tunnel.fail(said); err != nil {
		return err
	}
	return early(b.end())
}

// aboutStore are the operations on the whole store, for which clients wait for each other. In front of
// another daemon they do not: a daemon that hangs in one must not keep other clients from theirs.
var aboutStore = map[protocol.Op]bool{
	protocol.CollectGarbage: true, protocol.OptimiseStore: true, protocol.VerifyStore: true,
	protocol.QueryAllValidPaths: true, protocol.FindRoots: true,
}

// work does the work on a request.
func (c *conn) work(ctx context.Context, do handler, req protocol.Request, body *body) (protocol.Reply, error) {
	if c.upstream == nil || !aboutStore[req.Op()] {
		if err := c.takeTurn(ctx, req.Op()); err != nil {
			return nil, err
		}
	}
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
