package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pix/protocol"
	"pix/storepath"
)

// A Pool is a daemon as a store: it makes connections as they are needed, and finds the
// daemon again after a restart. Its methods may be called by any number of goroutines at
// once.
//
// Queries of all callers share one connection, on which they are pipelined. What needs a
// connection for itself (builds, uploads, open archives, sessions) gets one of at most
// Options.MaxConns others, and waits for one if need be. A connection that lies idle is
// used for whatever comes first, so that one suffices where one thing is done at a time.
//
// A call that reads only, and whose connection breaks, is made once more on another. A call
// that changes something never is: its error is [ErrConnLost], and whether it was done is
// not known.
//
// # Temporary roots
//
// What is added is kept from being collected as long as the connection lives that added it.
// The pool does not close such connections before it is closed itself; but when the daemon
// is restarted, they are gone. Whoever adds and then builds uses a [Session], which stays
// on one connection, learns from an error when that is lost, and lets go of its roots when
// it is closed.
//
// # Calls within calls
//
// A loop over one of the iterators may use the pool, and so may whoever holds an open archive
// or a session, handles events, or reads what is uploaded: even if it is a pool of one
// connection. Where all connections wait for their users, and nothing moves for half a
// second, one more is made.
type Pool struct {
	transport Transport
	opts      Options // with defaults, and without settings: those are for leases only
	settings  *Settings
	places    chan struct{} // has an element for each lease but those beyond the bound
	done      chan struct{} // closed by Close

	closing sync.WaitGroup // connections that are being closed

	mu     sync.Mutex
	shared *Conn           // for queries; nil until it is needed
	users  int             // of shared
	unused time.Time       // since when shared has had no users
	dial   *dialing        // of shared, under way
	idle   []idleConn      // the longest unused first
	leases map[*lease]bool // that were given out
	timer  *time.Timer     // that closes what is idle; nil if nothing is
	closed bool
}

// An idleConn is a connection that nobody uses.
type idleConn struct {
	*Conn
	since time.Time
}

// A dialing is an attempt to connect that several callers wait for.
type dialing struct {
	done chan struct{}
	err  error // when done is closed
}

// Open connects to the daemon that the transport reaches, so that an error comes at once,
// and returns the pool. The errors are those of [Dial].
func Open(ctx context.Context, t Transport, opts *Options) (*Pool, error) {
	p := newPool(t, opts)
	_, release, err := p.query(ctx)
	if err != nil {
		p.Close()
		return nil, err
	}
	release()
	return p, nil
}

func newPool(t Transport, opts *Options) *Pool {
	o := opts.withDefaults()
	if patient, ok := t.(interface{ handshakeTimeout() time.Duration }); ok && (opts == nil || opts.HandshakeTimeout == 0) {
		o.HandshakeTimeout = patient.handshakeTimeout()
	}
	p := &Pool{
		transport: t,
		settings:  o.Settings,
		places:    make(chan struct{}, o.MaxConns),
		done:      make(chan struct{}),
		leases:    make(map[*lease]bool),
	}
	o.Settings = nil
	p.opts = o
	return p
}

// Dir returns the store directory.
func (p *Pool) Dir() storepath.Dir { return p.opts.StoreDir }

// Close closes all connections. Calls under way fail, open archives and sessions end.
func (p *Pool) Close() error {
	p.mu.Lock()
	var conns []*Conn
	if !p.closed {
		p.closed = true
		close(p.done)
		if p.timer != nil {
			p.timer.Stop()
		}
		if p.shared != nil {
			conns = append(conns, p.shared)
		}
		for _, c := range p.idle {
			conns = append(conns, c.Conn)
		}
		for l, ready := range p.leases {
			if ready {
				conns = append(conns, l.Conn)
			}
		}
		p.shared, p.idle = nil, nil
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
	for _, c := range conns {
		c.Close()
	}
	p.closing.Wait()
	return nil
}

// An Info is what a daemon says of itself, and what was agreed on with it.
type Info struct {
	protocol.Params            // what both sides speak
	protocol.Greeting          // what the daemon said
	Addr              string   // how it is reached: a path, a URI, a command
	Settings          Settings // those that were told to it; the zero value if none were
}

// Info connects, if there is no connection, and returns what the daemon says of itself.
func (p *Pool) Info(ctx context.Context) (Info, error) {
	c, release, err := p.query(ctx)
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

// query returns the connection for queries, and makes one if there is none. The caller
// calls release when the queries are answered.
func (p *Pool) query(ctx context.Context) (c *Conn, release func(), err error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, nil, errPoolClosed
		}
		if p.haveShared() {
			defer p.mu.Unlock()
			p.users++
			return p.shared, p.userGone(p.shared), nil
		}
		d := p.dial
		if d != nil {
			p.mu.Unlock()
			if err := d.wait(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		d = &dialing{done: make(chan struct{})}
		p.dial = d
		p.mu.Unlock()
		if err := p.dialShared(ctx, d); err != nil {
			return nil, nil, err
		}
	}
}

// errPoolClosed is what comes of calls on a pool that was closed.
var errPoolClosed = fmt.Errorf("%w: %w", ErrConnLost, ErrClosed)

// wait waits for an attempt to connect, and returns its error, but not if it was given up by
// the one who made it.
func (d *dialing) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ended(ctx, "connecting")
	case <-d.done:
	}
	if errors.Is(d.err, context.Canceled) || errors.Is(d.err, context.DeadlineExceeded) {
		return nil
	}
	return d.err
}

// haveShared reports whether there is a connection for queries. If there is none, or a
// broken one, it takes one that is idle. The caller holds p.mu.
func (p *Pool) haveShared() bool {
	if p.shared != nil && p.shared.Err() != nil {
		p.discard(p.shared)
		p.shared, p.users = nil, 0
	}
	if p.shared == nil {
		p.shared = p.popIdle(func(c *Conn) bool { return !c.told })
	}
	return p.shared != nil
}

// userGone returns what a user of the connection calls in the end.
func (p *Pool) userGone(c *Conn) func() {
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.shared != c { // it is broken, or the pool is closed
			return
		}
		if p.users--; p.users == 0 {
			p.unused = time.Now()
			p.watchIdle()
		}
	}
}

// dialShared makes the connection for queries.
func (p *Pool) dialShared(ctx context.Context, d *dialing) error {
	c, err := DialTransport(ctx, p.transport, &p.opts)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dial = nil
	if d.err = err; err == nil && ctx.Err() == nil && p.closed {
		d.err = errPoolClosed
	}
	close(d.done)
	if err != nil {
		return err
	}
	if p.closed {
		p.discard(c)
		return errPoolClosed
	}
	p.shared, p.users, p.unused = c, 0, time.Now()
	p.watchIdle()
	return nil
}

// discard closes a connection, and does not wait for it. The caller holds p.mu.
func (p *Pool) discard(c *Conn) {
	if c.fail(ErrClosed); !p.closed {
		p.closing.Go(func() { c.Close() })
	}
}
