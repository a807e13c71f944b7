package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A request is a caller that waits for a connection.
type request struct {
	shared  bool // wants the shared connection for queries; otherwise a lease
	fresh   bool // wants a connection without temporary roots
	session bool // the lease does not count against MaxConns
	spare   bool // fails instead of waiting for a place
	held    bool // the caller gets the lease

	ready chan struct{} // closed when the fields below are set
	conn  *Conn
	lease *lease // unless it is shared
	err   error
}

// fail ends a request with an error.
func (r *request) fail(err error) {
	r.err = err
	close(r.ready)
}

// acquire waits until the request is served.
func (p *Pool) acquire(ctx context.Context, r *request) error {
	if ctx.Err() != nil {
		return contextError(ctx, waitingForConn)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errPoolClosed
	}
	r.ready = make(chan struct{})
	p.waiting = append(p.waiting, r)
	p.serveWaiting()
	p.mu.Unlock()
	select {
	case <-r.ready:
		return r.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, r)
	if i < 0 { // served in the meantime; the following call notices that ctx has ended
		<-r.ready
		return r.err
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.serveWaiting()
	return contextError(ctx, waitingForConn)
}

const waitingForConn = "waiting for a connection"

// serveWaiting grants the available connections to the waiting requests, in their order. It
// starts an attempt to connect if a request needs a new connection. It must be called after
// every change that may allow a request to proceed. The caller holds p.mu.
func (p *Pool) serveWaiting() {
	blocked := false
	var first *request // the first request that needs a new connection
	p.waiting = slices.DeleteFunc(p.waiting, func(r *request) bool {
		if p.isBlocked(r) {
			if r.spare {
				r.fail(errNoSpare)
			}
			blocked = blocked || !r.spare
			return r.spare
		}
		if p.grant(r) {
			return true
		}
		if first == nil {
			first = r
		}
		return false
	})
	if first != nil && p.attempt == nil {
		p.startAttempt(!first.shared)
	} else if first == nil && p.attempt != nil {
		p.attempt.cancel()
		p.attempt = nil
	}
	if blocked {
		p.watchLeases()
	}
}

// errNoSpare is the error of a spare request that would have to wait.
var errNoSpare = errors.New("all connections are in use")

// isBlocked reports whether a request must wait because another lease would exceed MaxConns.
// The caller holds p.mu.
func (p *Pool) isBlocked(r *request) bool {
	return !r.shared && !r.session && p.numCounted >= p.opts.MaxConns
}

// grant serves a request with an open connection, or returns false if none is available. The
// caller holds p.mu.
func (p *Pool) grant(r *request) bool {
	switch {
	case r.shared && p.ensureShared():
		p.users++
		r.conn = p.shared
	case r.shared:
		return false
	default:
		if r.conn = p.acquireIdle(r.fresh); r.conn == nil {
			return false
		}
		r.lease = p.newLease(r.conn, r)
	}
	close(r.ready)
	return true
}

// An attempt is an attempt to connect. It serves all requests that need a new connection.
type attempt struct {
	cancel context.CancelFunc
}

// startAttempt starts an attempt to connect. It has its own context, since the caller that
// starts it may leave while others wait. For the same reason events during the handshake have
// no handler. With settings, the connection is only used for leases. The caller holds p.mu.
func (p *Pool) startAttempt(withSettings bool) {
	opts := p.opts
	if withSettings {
		opts.Settings = p.settings
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{cancel}
	p.attempt = a
	p.closing.Go(func() {
		var c *Conn
		err := errNoReturn
		defer func() {
			// The transport may be code of the caller. No caller can recover a panic on this goroutine,
			// so it becomes an error instead of ending the program.
			if r := recover(); r != nil {
				err = &DialError{p.transport.String(), fmt.Errorf("panic: %v", r)}
			}
			cancel()
			p.finishAttempt(a, c, err)
		}()
		c, err = DialTransport(ctx, p.transport, &opts)
	})
}

// errNoReturn is the error of an attempt whose transport has called runtime.Goexit.
var errNoReturn = errors.New("connecting to the Nix daemon: the transport did not return")

// finishAttempt ends an attempt. All requests that need a new connection get its error. Blocked
// requests continue to wait.
func (p *Pool) finishAttempt(a *attempt, c *Conn, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		if c != nil {
			c.Close()
		}
		return
	}
	defer p.mu.Unlock()
	wanted := p.attempt == a // otherwise no request needs it any more
	if wanted {
		p.attempt = nil
	}
	if err == nil {
		p.putIdle(c)
		return
	}
	if !wanted {
		return
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(r *request) bool {
		if p.isBlocked(r) {
			return false
		}
		r.fail(err)
		return true
	})
}

// acquireShared returns the shared connection for queries, and connects if necessary. The
// caller must call release when the queries are answered.
func (p *Pool) acquireShared(ctx context.Context) (c *Conn, release func(), err error) {
	p.mu.Lock()
	if !p.closed && p.ensureShared() {
		p.users++
		c = p.shared
	}
	p.mu.Unlock()
	if c == nil {
		r := &request{shared: true}
		if err := p.acquire(ctx, r); err != nil {
			return nil, nil, err
		}
		c = r.conn
	}
	return c, func() { p.releaseShared(c) }, nil
}

// A lease is a connection that one caller uses exclusively.
type lease struct {
	*Conn
	pool *Pool
	held bool // the caller has it as a [Lease]

	// pool.mu guards these.
	counted   bool   // the lease counts against MaxConns
	lastSteps uint64 // callbacksStarted at the last call of uncountStalled
	lastCalls uint64 // callsStarted+1 at that time; 0 if a call ran, or before
}

// newLease leases a connection. The caller holds p.mu.
func (p *Pool) newLease(c *Conn, r *request) *lease {
	l := &lease{Conn: c, pool: p, held: r.held, counted: !r.session}
	if l.counted {
		p.numCounted++
	}
	c.isLeased = !r.session && !r.held
	p.leases[l] = struct{}{}
	return l
}

// acquireLease waits for a connection for exclusive use: an idle one, the shared one if it has
// no users, or a new one.
func (p *Pool) acquireLease(ctx context.Context) (*lease, error) {
	return p.acquireLeaseFor(ctx, &request{})
}

// acquireSessionLease is acquireLease for a session: the connection has no temporary roots of
// another caller.
func (p *Pool) acquireSessionLease(ctx context.Context) (*lease, error) {
	return p.acquireLeaseFor(ctx, &request{fresh: true, session: true})
}

// acquireSpareLease is acquireLease without waiting for another lease to end: the error is
// errNoSpare if MaxConns leases exist.
func (p *Pool) acquireSpareLease(ctx context.Context) (*lease, error) {
	return p.acquireLeaseFor(ctx, &request{spare: true})
}

func (p *Pool) acquireLeaseFor(ctx context.Context, r *request) (*lease, error) {
	if err := p.acquire(ctx, r); err != nil {
		return nil, err
	}
	l, ready := r.lease, false
	defer func() {
		if !ready {
			l.release()
		}
	}()
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	ready = true
	return l, nil
}

// prepare sends the pool's settings, unless the connection has them already. This is a part of
// connecting, so the handshake timeout applies.
func (l *lease) prepare(ctx context.Context) error {
	if l.pool.settings == nil || l.settingsSent {
		return nil
	}
	limited, cancel := l.opts.handshakeContext(ctx)
	defer cancel()
	err := l.setOptions(limited, l.pool.settings)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &DialError{l.pool.transport.String(), handshakeCancelled(limited)}
	}
	return err
}

// uncountUnused stops counting a held lease without a call since the last check, because its
// holder may be waiting for the pool. The caller holds pool.mu.
func (l *lease) uncountUnused() {
	calls := uint64(0)
	if l.held && l.isIdle() {
		calls = l.callsStarted.Load() + 1
		if calls == l.lastCalls {
			l.uncount()
		}
	}
	l.lastCalls = calls
}

// release returns a connection to the pool. It may be called more than once.
func (l *lease) release() {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, out := p.leases[l]; !out {
		return
	}
	delete(p.leases, l)
	l.uncount()
	p.putIdle(l.Conn)
}

// uncount ends the counting of a lease against MaxConns. The caller holds pool.mu.
func (l *lease) uncount() {
	if l.counted {
		l.counted = false
		l.pool.numCounted--
	}
}

// watchInterval is the time between two checks for leases that wait for callbacks or for their
// holder. A lease stops counting if no callback has begun between two checks, so after at most
// twice this time.
const watchInterval = 250 * time.Millisecond

// watchLeases starts the timer that calls uncountStalled. The caller holds p.mu.
func (p *Pool) watchLeases() {
	if p.leaseTimer == nil {
		p.leaseTimer = time.AfterFunc(watchInterval, p.uncountStalled)
	}
}

// uncountStalled stops counting all leases that have waited for a callback, or for the holder of a
// [Lease], since the last check, and serves waiting requests.
//
// For example, a call holds a lease and runs a handler. The handler calls the pool and waits
// for a lease. If all leases wait like that, no call proceeds. Handlers and readers get no
// context that identifies the call that runs them, so only the lack of progress shows this. The
// lease does not count again later, because the next call of the same handler would wait again.
func (p *Pool) uncountStalled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaseTimer = nil
	if p.closed {
		return
	}
	for l := range p.leases {
		steps := l.callbacksStarted.Load()
		if l.callbacks.Load() > 0 && steps == l.lastSteps {
			l.uncount()
		}
		l.lastSteps = steps
		l.uncountUnused()
	}
	p.serveWaiting()
}
