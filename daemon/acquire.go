package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A request is a caller that waits for a connection.
type request struct {
	shared  bool // wants the connection that queries share; else a lease
	fresh   bool // wants a connection without temporary roots
	session bool // the lease does not count against MaxConns
	spare   bool // fails instead of waiting for a place

	ready chan struct{} // closed when the fields below are set
	conn  *Conn
	lease *lease // unless it is shared
	err   error
}

// fail answers a request with an error.
func (r *request) fail(err error) {
	r.err = err
	close(r.ready)
}

// acquire waits until the request is served.
func (p *Pool) acquire(ctx context.Context, r *request) error {
	if ctx.Err() != nil {
		return ended(ctx, waitingForConn)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errPoolClosed
	}
	r.ready = make(chan struct{})
	p.waiting = append(p.waiting, r)
	p.serve()
	p.mu.Unlock()
	select {
	case <-r.ready:
		return r.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, r)
	if i < 0 { // served meanwhile; the call that follows sees that ctx has ended
		<-r.ready
		return r.err
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.serve()
	return ended(ctx, waitingForConn)
}

const waitingForConn = "waiting for a connection"

// serve gives the available connections to the requests that wait, in their order, and begins an
// attempt to connect if a request needs a new connection. It is called after every change that may let
// a request proceed. The caller holds p.mu.
func (p *Pool) serve() {
	blocked := false
	var first *request // the first that needs a new connection
	p.waiting = slices.DeleteFunc(p.waiting, func(r *request) bool {
		if p.isBlocked(r) {
			if r.spare {
				r.fail(errNoSpare)
			}
			blocked = blocked || !r.spare
			return r.spare
		}
		if p.give(r) {
			return true
		}
		if first == nil {
			first = r
		}
		return false
	})
	if first != nil && p.attempt == nil {
		p.connect(!first.shared)
	} else if first == nil && p.attempt != nil {
		p.attempt.cancel()
		p.attempt = nil
	}
	if blocked {
		p.watchLeases()
	}
}

// errNoSpare is the error of a spare request if there is no place for it.
var errNoSpare = errors.New("all connections are in use")

// isBlocked reports whether a request must wait for a place: a new connection would exceed MaxConns.
// The caller holds p.mu.
func (p *Pool) isBlocked(r *request) bool {
	return !r.shared && !r.session && p.counted >= p.opts.MaxConns
}

// give serves a request with an open connection, and returns false if none is available. The caller
// holds p.mu.
func (p *Pool) give(r *request) bool {
	switch {
	case r.shared && p.haveShared():
		p.users++
		r.conn = p.shared
	case r.shared:
		return false
	default:
		if r.conn = p.takeIdle(r.fresh); r.conn == nil {
			return false
		}
		r.lease = p.newLease(r.conn, r.session)
	}
	close(r.ready)
	return true
}

// An attempt is an attempt to connect. It serves all requests that need a new connection.
type attempt struct {
	cancel context.CancelFunc
}

// connect begins an attempt to connect. It has its own context, since the caller that
// begins it may leave while others wait. For the same reason events during the handshake go to no
// handler. With settings, the connection is for leases only. The caller holds p.mu.
func (p *Pool) connect(withSettings bool) {
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
			// The transport may be the caller's own. No caller can recover a panic on this goroutine,
			// and it would end the program, so it becomes an error.
			if r := recover(); r != nil {
				err = &DialError{p.transport.String(), fmt.Errorf("panic: %v", r)}
			}
			cancel()
			p.connected(a, c, err)
		}()
		c, err = DialTransport(ctx, p.transport, &opts)
	})
}

// errNoReturn is the error of an attempt whose transport ends the goroutine.
var errNoReturn = errors.New("connecting to the Nix daemon: the transport did not return")

// connected ends an attempt. Its error goes to all requests that need a new connection. Requests that
// are blocked keep waiting for a place.
func (p *Pool) connected(a *attempt, c *Conn, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		if c != nil {
			c.Close()
		}
		return
	}
	defer p.mu.Unlock()
	wanted := p.attempt == a // else no request needed it any more
	if wanted {
		p.attempt = nil
	}
	if err == nil {
		p.keep(c)
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

// acquireShared returns the connection for queries, and makes one if there is none. The caller
// calls release when the queries are answered.
func (p *Pool) acquireShared(ctx context.Context) (c *Conn, release func(), err error) {
	p.mu.Lock()
	if !p.closed && p.haveShared() {
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
