package daemon

import (
	"context"
	"slices"
	"time"
)

// A lease is a connection that someone has for himself.
type lease struct {
	*Conn
	pool   *Pool
	beyond bool // it has no place: it is one more than the bound
}

// patience is how long a call waits, while all connections wait for their users and nothing
// moves, until one more connection is made.
const patience = 500 * time.Millisecond

// lend waits for a place and returns a connection: one that is idle, that of the queries if
// nobody uses it, or a new one. A fresh one keeps nothing from being collected.
func (p *Pool) lend(ctx context.Context, fresh bool) (*lease, error) {
	beyond, err := p.place(ctx)
	if err != nil {
		return nil, err
	}
	return p.lendAt(ctx, &lease{pool: p, beyond: beyond}, fresh)
}

// lendSpare is lend if a place is free, and returns nil if not.
func (p *Pool) lendSpare(ctx context.Context) (*lease, error) {
	select {
	case p.places <- struct{}{}:
		return p.lendAt(ctx, &lease{pool: p}, false)
	default:
		return nil, nil
	}
}

// lendAt gives a lease that has its place a connection.
func (p *Pool) lendAt(ctx context.Context, l *lease, fresh bool) (*lease, error) {
	p.mu.Lock()
	l.Conn = p.takeIdle(fresh)
	p.leases[l] = l.Conn != nil
	p.mu.Unlock()
	if l.Conn == nil {
		c, err := DialTransport(ctx, p.transport, &p.opts)
		if err != nil {
			l.giveUp()
			return nil, err
		}
		p.mu.Lock()
		closed := p.closed
		l.Conn, p.leases[l] = c, true
		p.mu.Unlock()
		if closed {
			l.release()
			return nil, errPoolClosed
		}
	}
	if p.settings != nil && !l.told {
		if err := l.setOptions(ctx, p.settings); err != nil {
			l.release()
			return nil, err
		}
	}
	return l, nil
}

// place waits until one more connection may be used. It is beyond the bound if waiting
// could be for ever.
func (p *Pool) place(ctx context.Context) (beyond bool, err error) {
	if ctx.Err() != nil {
		return false, ended(ctx, "waiting for a connection")
	}
	for {
		before, rested := p.atRest()
		timer := time.NewTimer(patience)
		select {
		case p.places <- struct{}{}:
		case <-p.done:
			err = errPoolClosed
		case <-ctx.Done():
			err = ended(ctx, "waiting for a connection")
		case <-timer.C:
			after, rests := p.atRest()
			if rested && rests && after == before {
				return true, nil
			}
			continue // a call that has just ended also rests, for a moment
		}
		timer.Stop()
		return false, err
	}
}

// atRest returns how many steps all leases have made, and whether each of them waits for
// its user.
func (p *Pool) atRest() (moves uint64, rest bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest = true
	for l, ready := range p.leases {
		if !ready {
			rest = false
			continue
		}
		moves += l.moves.Load()
		rest = rest && l.inHands()
	}
	return moves, rest
}

// takeIdle returns a connection that nobody uses, or nil. The caller holds p.mu.
func (p *Pool) takeIdle(fresh bool) *Conn {
	good := func(c *Conn) bool { return !fresh || !c.hasRoots.Load() }
	if c := p.popIdle(good); c != nil {
		return c
	}
	if c := p.shared; c != nil && p.users == 0 && c.Err() == nil && good(c) {
		p.shared = nil
		return c
	}
	return nil
}

// popIdle takes the connection that was used last from those that are idle and good, or
// returns nil. The caller holds p.mu.
func (p *Pool) popIdle(good func(*Conn) bool) *Conn {
	for i := len(p.idle) - 1; i >= 0; i-- {
		c := p.idle[i].Conn
		broken := c.Err() != nil
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

// release gives a connection back: a broken one, or one beyond the bound, is closed.
func (l *lease) release() {
	p := l.pool
	p.mu.Lock()
	if _, out := p.leases[l]; !out {
		p.mu.Unlock()
		return
	}
	delete(p.leases, l)
	switch {
	case l.Err() != nil || l.beyond || p.closed:
		p.discard(l.Conn)
	case p.shared == nil && !l.told:
		p.shared, p.users, p.unused = l.Conn, 0, time.Now()
	default:
		p.idle = append(p.idle, idleConn{l.Conn, time.Now()})
	}
	p.watchIdle()
	p.mu.Unlock()
	l.leavePlace()
}

// giveUp ends a lease that never got a connection.
func (l *lease) giveUp() {
	l.pool.mu.Lock()
	delete(l.pool.leases, l)
	l.pool.mu.Unlock()
	l.leavePlace()
}

func (l *lease) leavePlace() {
	if !l.beyond {
		<-l.pool.places
	}
}

// watchIdle makes sure that what is idle will be closed when its time has come. The caller
// holds p.mu.
func (p *Pool) watchIdle() {
	if p.timer == nil && p.opts.IdleTimeout > 0 && !p.closed {
		p.timer = time.AfterFunc(p.opts.IdleTimeout, p.closeIdle)
	}
}

// closeIdle closes what has been idle for long enough and keeps nothing from being
// collected.
func (p *Pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
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
	if p.shared != nil && p.users == 0 && old(p.shared, p.unused) {
		p.discard(p.shared)
		p.shared = nil
	}
	if len(p.idle) > 0 || p.shared != nil {
		p.watchIdle()
	}
}
