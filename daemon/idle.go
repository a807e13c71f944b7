package daemon

import (
	"slices"
	"time"
)

// An idleConn is a connection without a user.
type idleConn struct {
	*Conn
	since time.Time
}

// keep gives a connection without a user to a request that waits, or keeps it for the next one. The
// caller holds p.mu.
func (p *Pool) keep(c *Conn) {
	switch {
	case p.closed || c.Err() != nil:
		p.discard(c)
	case p.shared == nil && !c.settingsSent:
		p.shared, p.users, p.unused = c, 0, time.Now()
	default:
		p.idle = append(p.idle, idleConn{c, time.Now()})
	}
	p.serve()
	p.trimIdle()
	p.watchIdle()
}

// trimIdle closes idle connections in excess of MaxConns, the longest unused first, except those with
// temporary roots. The caller holds p.mu.
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

// haveShared reports whether there is a connection for queries. If there is none, or a
// broken one, it takes one that is idle. The caller holds p.mu.
func (p *Pool) haveShared() bool {
	if p.shared != nil && p.shared.Err() != nil {
		p.discard(p.shared)
		p.shared, p.users = nil, 0
	}
	if p.shared == nil {
		p.shared = p.popIdle(func(c *Conn) bool { return !c.settingsSent })
	}
	return p.shared != nil
}

// releaseShared ends the use of a connection that acquireShared has returned.
func (p *Pool) releaseShared(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shared != c { // it is broken, or the pool is closed
		return
	}
	if p.users--; p.users == 0 {
		p.unused = time.Now()
		p.watchIdle()
		if len(p.waiting) > 0 {
			p.serve()
		}
	}
}

// takeIdle returns a connection without a user, or nil. A fresh one has no temporary roots. The caller
// holds p.mu.
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

// watchIdle starts the timer that closes idle connections. The caller holds p.mu.
func (p *Pool) watchIdle() {
	if p.reaper == nil && p.opts.IdleTimeout > 0 && !p.closed {
		p.reaper = time.AfterFunc(p.opts.IdleTimeout, p.closeIdle)
	}
}

// closeIdle closes the connections that have been idle for IdleTimeout and have no temporary roots.
func (p *Pool) closeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
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

// discard closes a connection, and does not wait for it. The caller holds p.mu.
func (p *Pool) discard(c *Conn) {
	if c.fail(ErrClosed); !p.closed {
		p.closing.Go(func() { c.Close() })
	}
}
