package daemon

import (
	"context"
	"errors"
	"sync/atomic"

	"pix/store"
)

// A Lease is a connection of a [Pool] that one caller uses exclusively until [Lease.Release]. It
// saves the pool's bookkeeping for each call, and keeps calls in their order. Otherwise call the
// methods of the pool itself. Its methods may be called by any number of goroutines at the same
// time. As in a [Session], a handler or a reader that calls the lease which runs it gets
// [ErrBusy].
type Lease struct {
	*Conn
	lease      *lease
	optionsSet atomic.Bool // the settings of the connection are not the pool's
	released   atomic.Bool // the connection may have another user
}

var _ store.Store = (*Lease)(nil)

// Acquire waits until less than Options.MaxConns connections are in use for exclusive calls, and
// returns one. The caller must release it. A lease without a running call stops counting against
// MaxConns after at most half a second while other calls wait for a connection, so its holder may
// use the pool.
func (p *Pool) Acquire(ctx context.Context) (*Lease, error) {
	l, err := p.acquireLeaseFor(ctx, &request{held: true})
	if err != nil {
		return nil, err
	}
	return &Lease{Conn: l.Conn, lease: l}, nil
}

// Release returns the connection to the pool. The lease must not be used afterwards. Release
// closes the connection instead if it has other settings than the pool, or if a call still
// runs or an archive is open, because the next user would wait for that. The temporary roots of the
// connection stay, as in a call of the pool. Release may be called more than once.
func (l *Lease) Release() {
	if l.released.Swap(true) {
		return
	}
	if l.optionsSet.Load() {
		l.fail(errOtherSettings)
	} else if !l.isIdle() {
		l.fail(errReleasedInUse)
	}
	l.lease.release()
}

var (
	errOtherSettings = errors.New("the connection had other settings than the pool")
	errReleasedInUse = errors.New("the connection was released during a call")
)

// Close releases the lease and closes its connection. Running calls fail. After Release it does
// nothing.
func (l *Lease) Close() error {
	if l.released.Swap(true) {
		return nil
	}
	defer l.lease.release()
	return l.Conn.Close()
}

// SetOptions sends settings: see [Conn.SetOptions]. They apply until the lease is released.
func (l *Lease) SetOptions(ctx context.Context, s *Settings) error {
	l.optionsSet.Store(true)
	return l.Conn.SetOptions(ctx, s)
}

// isIdle reports whether no call runs and no archive is open.
func (c *Conn) isIdle() bool {
	all := int64(c.opts.Window)
	idle := c.slots.TryAcquire(all)
	if idle {
		c.slots.Release(all)
	}
	return idle
}
