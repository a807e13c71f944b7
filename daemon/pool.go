package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// A Pool is a store that is served by a daemon. It connects when necessary, and reconnects
// after a restart of the daemon. Its methods may be called by any number of goroutines at the
// same time.
//
// Queries of all callers share one connection, on which they are pipelined. Exclusive calls
// (builds, uploads, open archives) use at most Options.MaxConns other connections, in the order
// of the calls. An idle connection serves the next call of either kind, so a program that makes
// one call at a time needs only one connection.
//
// The pool makes one attempt to connect at a time. All callers that need the new connection
// wait for this attempt and get its error. So a daemon that hangs in the handshake costs each
// of them one Options.HandshakeTimeout. The attempt does not use a caller's context. If the
// context of a caller ends, only this caller stops waiting. The attempt ends when no caller
// waits for it.
//
// If the connection of a query, or of another call that only reads, is lost, the pool repeats
// the call once on another connection. A call that changes something is never repeated: its
// error is [ErrConnLost], and it is unknown whether the daemon did the work.
//
// # Temporary roots
//
// A daemon does not collect an added path while the connection that added it is open. The pool
// does not close such a connection before Close, but a restart of the daemon does. To add paths
// and then build, use a [Session]: it stays on one connection, returns an error when that is
// lost, and releases its roots when it is closed.
//
// # Calls within calls
//
// The body of a loop over an iterator may use the pool. So may the holder of an open archive,
// session or [Lease], a handler, and the reader of an upload, even in a pool of one connection. A
// session never counts against Options.MaxConns. Any other connection stops counting after it
// has waited for its caller for up to half a second while other calls wait for a connection,
// since one of these may be a call of that caller. So the pool has at most Options.MaxConns
// connections in use, one for queries, one for each open session, and one for each call or lease
// that has kept its connection waiting that long.
type Pool struct {
	transport Transport
	opts      Options // with defaults, and without settings, which only leases send
	settings  *Settings

	closing sync.WaitGroup // attempts to connect, and connections that are being closed

	open       context.Context // done when the pool is closed
	cancelOpen context.CancelFunc

	mu         sync.Mutex
	shared     *Conn               // for queries; nil until the first use
	users      int                 // number of users of shared
	idleSince  time.Time           // when shared lost its last user
	idle       []idleConn          // the longest idle first
	leases     map[*lease]struct{} // in use
	numCounted int                 // number of leases that count against MaxConns
	waiting    []*request          // the oldest first
	attempt    *attempt            // to connect; nil unless a request needs one
	idleTimer  *time.Timer         // closes idle connections; nil if there are none
	leaseTimer *time.Timer         // calls uncountStalled; nil unless a request is blocked
	closed     bool
}

// Open connects to the daemon of the transport and returns a pool. It returns the same
// errors as [Dial].
func Open(ctx context.Context, t Transport, opts *Options) (*Pool, error) {
	p := newPool(t, opts)
	c, err := DialTransport(ctx, t, &p.opts)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putIdle(c)
	return p, nil
}

func newPool(t Transport, opts *Options) *Pool {
	o := opts.withDefaults()
	if own, ok := t.(interface{ handshakeTimeout() time.Duration }); ok && (opts == nil || opts.HandshakeTimeout == 0) {
		o.HandshakeTimeout = own.handshakeTimeout()
	}
	p := &Pool{transport: t, settings: o.Settings, leases: make(map[*lease]struct{})}
	p.open, p.cancelOpen = context.WithCancel(context.Background())
	o.Settings = nil
	p.opts = o
	return p
}

// Dir returns the store directory.
func (p *Pool) Dir() storepath.Dir { return p.opts.StoreDir }

// errPoolClosed is the error of calls on a closed pool.
var errPoolClosed = fmt.Errorf("%w: %w", ErrConnLost, ErrClosed)

// Close closes all connections. Running calls fail, and open archives and sessions end. Close
// returns when the goroutines of all connections, and of an attempt to connect, have ended.
func (p *Pool) Close() error {
	conns := p.markClosed()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
	for _, c := range conns {
		c.Close()
	}
	p.closing.Wait()
	return nil
}

// markClosed marks the pool as closed, fails the waiting requests, and returns the connections
// to close.
func (p *Pool) markClosed() (conns []*Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.cancelOpen()
	for _, t := range []*time.Timer{p.idleTimer, p.leaseTimer} {
		if t != nil {
			t.Stop()
		}
	}
	for _, r := range p.waiting {
		r.fail(errPoolClosed)
	}
	if p.attempt != nil {
		p.attempt.cancel()
	}
	if p.shared != nil {
		conns = append(conns, p.shared)
	}
	for _, c := range p.idle {
		conns = append(conns, c.Conn)
	}
	for l := range p.leases {
		conns = append(conns, l.Conn)
	}
	p.waiting, p.attempt, p.shared, p.idle = nil, nil, nil, nil
	return conns
}

// An Info describes a daemon and a connection to it.
type Info struct {
	protocol.Params            // the negotiated version and features
	protocol.Greeting          // from the daemon
	Addr              string   // the address of the transport: a path, a URI, a command
	Settings          Settings // the settings that the pool sends; the zero value if there are none
}

// Info returns a description of the daemon. It connects if necessary.
func (p *Pool) Info(ctx context.Context) (Info, error) {
	c, release, err := p.acquireShared(ctx)
	if err != nil {
		return Info{}, err
	}
	defer release()
	info := Info{Params: c.params, Greeting: c.greeting, Addr: p.transport.String()}
	if p.settings != nil {
		info.Settings = *p.settings
	}
	return info, nil
}

// A Session is a connection of a [Pool]. Its temporary roots exist until the session is closed,
// so an added path stays until it is used in a build. Its methods may be called by any number
// of goroutines at the same time. Exclusive calls wait for each other, and all calls wait until
// an archive of the session is read or closed. A handler or a reader that calls the session
// which runs it gets [ErrBusy].
type Session struct {
	*Conn
	lease *lease
}

var _ store.Sessioner = (*Pool)(nil)

// Session returns a [*Session], which must be closed. It does not wait for other calls, since
// its connection does not count against Options.MaxConns.
func (p *Pool) Session(ctx context.Context) (store.Store, error) {
	l, err := p.acquireSessionLease(ctx)
	if err != nil {
		return nil, err
	}
	return &Session{l.Conn, l}, nil
}

// Close releases the session's temporary roots, and closes its connection. Running calls fail.
func (s *Session) Close() error {
	defer s.lease.release()
	return s.Conn.Close()
}

var _ store.ClientConnector = (*Pool)(nil)

// ConnectClient returns a [*Conn] on a new connection, for a client of a server in front of the
// daemon. The connection does not count against the limits of the pool, and no other caller
// uses it. It has the settings of the pool until [Conn.SetOptions] replaces them. It ends when
// it is closed, or with the pool.
//
// Every operation is exclusive, so no event is dropped. A cancelled call closes the connection,
// so that the daemon stops its work.
func (p *Pool) ConnectClient(ctx context.Context) (store.Store, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	opts := p.opts
	opts.Settings = p.settings
	c, err := DialTransport(ctx, p.transport, &opts)
	if p.open.Err() != nil {
		if err == nil {
			c.Close()
		}
		return nil, errPoolClosed
	}
	if err != nil {
		return nil, err
	}
	c.exclusiveOnly = true
	stop := context.AfterFunc(p.open, func() { c.fail(ErrClosed) })
	context.AfterFunc(c.alive, func() { stop() })
	return c, nil
}

// SetOptions sends settings. They apply to the connection until the next call of SetOptions. A
// daemon that does not trust the user ignores most of them.
func (c *Conn) SetOptions(ctx context.Context, s *Settings) error {
	_, err := invoke[protocol.None](ctx, c, s)
	return err
}

// An idleConn is a connection without a user.
type idleConn struct {
	*Conn
	since time.Time
}

// putIdle grants a connection without a user to a waiting request, or keeps it for the next
// one. The caller holds p.mu.
func (p *Pool) putIdle(c *Conn) {
	switch {
	case p.closed || c.Err() != nil:
		p.discard(c)
	case p.shared == nil && !c.settingsSent:
		p.shared, p.users, p.idleSince = c, 0, time.Now()
	default:
		p.idle = append(p.idle, idleConn{c, time.Now()})
	}
	p.serveWaiting()
	p.trimIdle()
	p.watchIdle()
}

// trimIdle closes idle connections in excess of MaxConns, the longest idle first, except those
// with temporary roots. The caller holds p.mu.
func (p *Pool) trimIdle() {
	more := len(p.idle) - p.opts.MaxConns
	p.idle = slices.DeleteFunc(p.idle, func(c idleConn) bool {
		if more <= 0 || c.hasRoots.Load() {
			return false
		}
		more--
		p.discard(c.Conn)
		return true
	})
}

// ensureShared reports whether there is a shared connection. If it is missing or broken, an
// idle connection takes its place. The caller holds p.mu.
func (p *Pool) ensureShared() bool {
	if p.shared != nil && p.shared.Err() != nil {
		p.discard(p.shared)
		p.shared, p.users = nil, 0
	}
	if p.shared == nil {
		p.shared = p.popIdle(func(c *Conn) bool { return !c.settingsSent })
	}
	return p.shared != nil
}

// releaseShared ends a use of a connection that acquireShared has returned.
func (p *Pool) releaseShared(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared != c { // c is broken, or the pool is closed
		return
	}
	if p.users--; p.users == 0 {
		p.idleSince = time.Now()
		p.watchIdle()
		if len(p.waiting) > 0 {
			p.serveWaiting()
		}
	}
}

// acquireIdle removes and returns a connection without a user, or nil. A fresh one has no
// temporary roots. The caller holds p.mu.
func (p *Pool) acquireIdle(fresh bool) *Conn {
	good := func(c *Conn) bool { return !fresh || !c.hasRoots.Load() }
	if c := p.popIdle(good); c != nil {
		return c
	}
	if c := p.shared; c != nil && p.users == 0 && !c.isBroken() && good(c) {
		p.shared = nil
		return c
	}
	return nil
}

// popIdle removes and returns the most recently used idle connection that is good, or nil. The
// caller holds p.mu.
func (p *Pool) popIdle(good func(*Conn) bool) *Conn {
	for i := len(p.idle) - 1; i >= 0; i-- {
		c := p.idle[i].Conn
		broken := c.isBroken()
		if !broken && !good(c) {
			continue
		}
		p.idle = slices.Delete(p.idle, i, i+1)
		if !broken {
			return c
		}
		p.discard(c)
	}
	return nil
}

// watchIdle starts the timer that closes idle connections. The caller holds p.mu.
func (p *Pool) watchIdle() {
	if p.idleTimer == nil && p.opts.IdleTimeout > 0 && !p.closed {
		p.idleTimer = time.AfterFunc(p.opts.IdleTimeout, p.closeIdle)
	}
}

// closeIdle closes the connections that have been idle for IdleTimeout and have no temporary roots.
func (p *Pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idleTimer = nil
	if p.closed {
		return
	}
	now := time.Now()
	old := func(c *Conn, since time.Time) bool {
		return c.Err() != nil || !c.hasRoots.Load() && now.Sub(since) >= p.opts.IdleTimeout
	}
	p.idle = slices.DeleteFunc(p.idle, func(c idleConn) bool {
		if !old(c.Conn, c.since) {
			return false
		}
		p.discard(c.Conn)
		return true
	})
	if p.shared != nil && p.users == 0 && old(p.shared, p.idleSince) {
		p.discard(p.shared)
		p.shared = nil
	}
	if len(p.idle) > 0 || p.shared != nil {
		p.watchIdle()
	}
}

// discard closes a connection in the background. The caller holds p.mu.
func (p *Pool) discard(c *Conn) {
	if c.fail(ErrClosed); !p.closed {
		p.closing.Go(func() { c.Close() })
	}
}
