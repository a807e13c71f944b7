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
	seen   uint64 // the connection's steps when freePlaces last looked at it
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

// lendSession is lend for a session: the connection has no temporary roots of another caller.
func (p *Pool) lendSession(ctx context.Context) (*lease, error) {
	return p.lendFor(ctx, &request{fresh: true, session: true})
}

// lendSpare is lend without a wait for a place: the error is errNoSpare if all are in use.
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

// prepare sends the pool's settings, unless the connection already has them. Connecting includes
// this, so the handshake timeout applies.
func (l *lease) prepare(ctx context.Context) error {
	if l.pool.settings == nil || l.settingsSent {
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

// watchInterval is the time between two looks for leases that wait for callbacks. A lease loses its
// place after two looks without a step in between, so after at most twice this time.
const watchInterval = 250 * time.Millisecond

// watchLeases starts the timer that takes the places of leases that wait for callbacks. The caller
// holds p.mu.
func (p *Pool) watchLeases() {
	if p.watch == nil {
		p.watch = time.AfterFunc(watchInterval, p.freePlaces)
	}
}

// freePlaces takes the places of all leases that have waited for a callback since the last
// look, and gives them to the requests that wait.
//
// For example, a call holds a place and runs a handler. The handler calls the pool, and waits for a
// place. If all places are held like that, no call proceeds. Handlers and readers get no context that
// shows which call runs them, so only the lack of progress does. A lease does not get its place back,
// because the next call of the same handler would wait again.
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
