package daemon

import (
	"context"
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
// Queries of all callers share one connection, on which they are pipelined. Calls that need a
// connection for themselves (builds, uploads, open archives) use at most Options.MaxConns
// others, in the order in which they are made. An idle connection serves the next call of
// either kind, so a program that does one thing at a time needs only one.
//
// The pool makes one attempt to connect at a time. All callers that need the new connection
// wait for this attempt and get its error, so a daemon that hangs in the handshake costs each
// of them one Options.HandshakeTimeout. The attempt does not use a caller's context. If the
// context of a caller ends, only this caller stops waiting. The attempt ends when no caller
// waits for it.
//
// A query or another call that only reads is repeated once on another connection if its
// connection breaks. A call that changes something is never repeated: its error is
// [ErrConnLost], and it is unknown whether the daemon did the work.
//
// # Temporary roots
//
// A daemon keeps an added path from being collected while the connection that added it is
// open. The pool does not close such a connection before Close; but a restart of the daemon
// closes it. To add and then build, use a [Session]: it stays on one connection, returns an
// error when that is lost, and releases its roots when it is closed.
//
// # Calls within calls
//
// The body of a loop over one of the iterators may use the pool, and so may the holder of an
// open archive or session, a handler, and the reader of an upload, even in a pool of one
// connection. A session never counts against Options.MaxConns. Any other connection stops
// counting once it has waited for its caller for up to half a second while other calls wait
// for a connection: the caller may itself be one of them. So the pool has at most
// Options.MaxConns connections in use, one for queries, one for each open session, and one for
// each call that has kept its connection waiting that long.
type Pool struct {
	transport Transport
	opts      Options // with defaults, and without settings: only leases send those
	settings  *Settings

	closing sync.WaitGroup // attempts to connect, and connections that are being closed

	open context.Context // ends when the pool is closed
	end  context.CancelFunc

	mu      sync.Mutex
	shared  *Conn               // for queries; nil until it is needed
	users   int                 // of shared
	unused  time.Time           // since when shared has had no users
	idle    []idleConn          // the longest unused first
	leases  map[*lease]struct{} // in use
	counted int                 // leases that count against MaxConns
	waiting []*request          // the oldest first
	attempt *attempt            // to connect; nil unless a request needs one
	reaper  *time.Timer         // closes idle connections; nil if there are none
	watch   *time.Timer         // looks for leases that wait for callbacks; nil unless a request waits for a place
	closed  bool
}

// Open connects to the daemon that the transport reaches, so that an error comes at once,
// and returns the pool. The errors are those of [Dial].
func Open(ctx context.Context, t Transport, opts *Options) (*Pool, error) {
	p := newPool(t, opts)
	c, err := DialTransport(ctx, t, &p.opts)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep(c)
	return p, nil
}

func newPool(t Transport, opts *Options) *Pool {
	o := opts.withDefaults()
	if patient, ok := t.(interface{ handshakeTimeout() time.Duration }); ok && (opts == nil || opts.HandshakeTimeout == 0) {
		o.HandshakeTimeout = patient.handshakeTimeout()
	}
	p := &Pool{transport: t, settings: o.Settings, leases: make(map[*lease]struct{})}
	p.open, p.end = context.WithCancel(context.Background())
	o.Settings = nil
	p.opts = o
	return p
}

// Dir returns the store directory.
func (p *Pool) Dir() storepath.Dir { return p.opts.StoreDir }

// errPoolClosed is the error of calls on a closed pool.
var errPoolClosed = fmt.Errorf("%w: %w", ErrConnLost, ErrClosed)

// Close closes all connections. Calls under way fail, open archives and sessions end. It
// returns when the goroutines of all connections, and of an attempt to connect, have ended.
func (p *Pool) Close() error {
	conns := p.shut()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
	for _, c := range conns {
		c.Close()
	}
	p.closing.Wait()
	return nil
}

// shut marks the pool as closed, fails the requests that wait, and returns the connections for the
// caller to close.
func (p *Pool) shut() (conns []*Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.end()
	for _, t := range []*time.Timer{p.reaper, p.watch} {
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
	protocol.Params            // the version and features that both sides speak
	protocol.Greeting          // from the daemon
	Addr              string   // of the transport: a path, a URI, a command
	Settings          Settings // that the pool sends; the zero value if there are none
}

// Info returns the description of the daemon. It connects, if there is no connection.
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
