package daemon

import (
	"context"
	"time"
)

// A lease is a connection that one caller has for itself.
type lease struct {
	*Conn
	pool *Pool

	// pool.mu guards these.
	counts bool   // against MaxConns
	seen   uint64 // the connection's steps when the pool last looked at it
}

// newLease leases a connection. The caller holds p.mu.
func (p *Pool) newLease(c *Conn, session bool) *lease {
	l := &lease{Conn: c, pool: p, counts: !session}
	if l.counts {
		p.counted++
	}
	c.leased = !session
	p.leases[l] = struct{}{}
	return l
}

// lend waits for a connection for the caller alone: an idle one, the one for queries if it has
// no users, or a new one.
func (p *Pool) lend(ctx context.Context) (*lease, error) {
	return p.lendFor(ctx, &request{})
}

// lendSession is lend for a session: the connection keeps nothing from being collected.
func (p *Pool) lendSession(ctx context.Context) (*lease, error) {
	return p.lendFor(ctx, &request{fresh: true, session: true})
}

// lendSpare is lend for a caller that does not need it: if all connections are in use it is an
// error.
func (p *Pool) lendSpare(ctx context.Context) (*lease, error) {
	return p.lendFor(ctx, &request{spare: true})
}

func (p *Pool) lendFor(ctx context.Context, r *request) (*lease, error) {
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

// prepare sends the pool's settings, if the connection has not got them. It is a part of
// connecting, so it has the same time.
func (l *lease) prepare(ctx context.Context) error {
	if l.pool.settings == nil || l.told {
		return nil
	}
	limited, cancel := l.opts.handshakeContext(ctx)
	defer cancel()
	err := l.setOptions(limited, l.pool.settings)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = &DialError{l.pool.transport.String(), silent(limited)}
	}
	return err
}

// release gives a connection back. It may be called more than once.
func (l *lease) release() {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, out := p.leases[l]; !out {
		return
	}
	delete(p.leases, l)
	l.stopCounting()
	p.keep(l.Conn)
}

// stopCounting gives the lease's place to another. The caller holds pool.mu.
func (l *lease) stopCounting() {
	if l.counts {
		l.counts = false
		l.pool.counted--
	}
}

// watchInterval is how often the pool looks for leases that wait for their callers. Two looks
// decide, so it takes at most twice as long.
const watchInterval = 250 * time.Millisecond

// watchLeases makes sure that leases that wait for their callers do not keep their places for
// ever. The caller holds p.mu.
func (p *Pool) watchLeases() {
	if p.watch == nil {
		p.watch = time.AfterFunc(watchInterval, p.freePlaces)
	}
}

// freePlaces takes the places of all leases that have waited for their callers since the last
// look, and gives them to the requests that wait. A handler that calls the pool, for example,
// waits for a place while the call around it holds one. Handlers and readers have no context
// that could show which call is around them, so only the lack of progress does. A lease does
// not get its place back: the next call of the same handler would wait again.
func (p *Pool) freePlaces() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = nil
	if p.closed {
		return
	}
	for l := range p.leases {
		steps := l.steps.Load()
		if l.callbacks.Load() > 0 && steps == l.seen {
			l.stopCounting()
		}
		l.seen = steps
	}
	p.serve()
}
