package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"pix/protocol"
	"pix/store"
	"pix/wire"
)

func newConn(ctx context.Context, nc net.Conn, s store.Store, opts *Options, m *memory, who owner) *conn {
	o := opts.withDefaults()
	c := &conn{nc: nc, opts: o, store: s, client: new(client), memory: m, ended: make(chan struct{})}
	c.trusted = o.Trusted && trustOf(true, s) != protocol.NotTrusted
	c.privileged = c.trusted
	who.trusted = c.trusted
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.initStreams()
	c.mem, c.out.mem = m.open(who, c), m.requests.open(who, c)
	c.stop = context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	return c
}

// initStreams connects the inbox and the outbox with the connection.
func (c *conn) initStreams() {
	c.in.init(c.nc)
	c.in.hungUp = func() { c.cancel(errHungUp) }
	c.in.flush, c.in.slow, c.in.more, c.in.guarded = c.out.sendHeld, c.out.wake, c.moreRequest, c.guard
	c.out.init(c.nc, c.opts.StallTimeout)
	c.out.failed, c.out.guarded = c.fail, c.guard
	for _, t := range [...]*timeout{&c.in.stalled, &c.out.stalled} {
		t.expire, t.holds = c.closeStalled, &c.holds
	}
	c.tunnel.failed = c.fail
}

// ErrStalled says that a client sent nothing, or read nothing, for longer than the options allow. While
// other connections wait for the memory that it holds, a client may stall less long.
var ErrStalled = errors.New("the client has stalled")

// A conn is one client's connection.
type conn struct {
	nc      net.Conn
	opts    Options
	store   store.Store // the connection's session, if the store has sessions
	session store.Store // the same, to be closed with the connection; nil if there is none
	trusted bool        // by this server
	client  *client     // shared with the other connections of the same user, if a Server knows of them
	roots   int64       // temporary roots of this connection, which client counts, too
	refused error       // sent to the client instead of serving it
	joined  func()      // called when it is known whom the client is connected to; may be nil

	upstream    upstream    // the store of another daemon; nil in front of any other
	forget      func() bool // forgets upstreamBroke
	unreachable error       // why the client could not be connected to that daemon
	privileged  bool        // trusted by this server and, unless that is unknown, by the daemon behind

	ctx    context.Context // of all operations; done when the client has hung up
	cancel context.CancelCauseFunc
	stop   func() bool // forgets the context that the connection was given

	memory *memory
	mem    accounts
	holds  atomic.Int32 // how many accounts hold memory
	size   int64        // how many bytes the request may have so far

	greeting atomic.Bool // during the handshake
	idle     atomic.Bool // between two requests
	draining atomic.Bool // the server shuts down: no further request is read

	in  inbox
	out outbox

	reader   *wire.Reader
	params   protocol.Params
	tunnel   tunnel
	settings settingsHolder
	buf      []byte        // for the next reply
	archive  io.ReadCloser // to be sent after the reply

	mu    sync.Mutex
	err   error
	ended chan struct{} // closed when err is set
}

// fail closes the connection at once.
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
	defer func() { _ = recover() }() // a Close that panics must not end the process
	c.nc.Close()
}

// failure returns why the connection was closed, or nil.
func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// errHungUp is why an operation is cancelled whose client has hung up.
var errHungUp = errors.New("the client has hung up")
