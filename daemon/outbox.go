package daemon

import (
	"net"
	"sync"
	"time"
)

// An outbox holds what is to be written, and says whose turn it is to write. Requests go in
// without waiting, since there can only be as many as the connection has slots. The body of
// an upload is written by the one who uploads, with nothing in between.
type outbox struct {
	nc net.Conn

	mu     sync.Mutex
	turn   sync.Cond // something below has changed
	buf    []byte
	spare  []byte // the buffer that was written last
	busy   bool   // someone is writing to nc
	closed bool
	err    error // why writing failed
}

func (o *outbox) init(nc net.Conn) {
	o.nc = nc
	o.turn.L = &o.mu
}

// put appends p without waiting. It does not write, not even if nobody else does: the writer
// runs as soon as the caller waits for its answer, which was measured to cost a lone query
// nothing, and others leave together.
func (o *outbox) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	o.turn.Broadcast()
}

// Write writes p when all else is written, without a copy. It implements io.Writer for
// uploads. What it could not write is [ErrConnLost], the reason is the outbox's.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	for (o.busy || len(o.buf) > 0) && !o.closed {
		o.turn.Wait()
	}
	if o.closed {
		o.mu.Unlock()
		return 0, ErrConnLost
	}
	o.busy = true
	o.mu.Unlock()
	n, err := o.nc.Write(p)
	if err != nil {
		o.fail(err)
		return n, ErrConnLost
	}
	o.wrote()
	return n, nil
}

// take returns what is to be written, waiting for it; nil when the outbox is closed. Unless
// it is nil, the caller calls wrote afterwards.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (o.busy || len(o.buf) == 0) && !o.closed {
		o.turn.Wait()
	}
	if o.closed {
		return nil
	}
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	o.busy = true
	return full
}

// wrote gives the turn to the next.
func (o *outbox) wrote() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy = false
	const keep = 1 << 20 // bytes of buffer worth keeping
	if cap(o.spare) > keep {
		o.spare = nil
	}
	o.turn.Broadcast()
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.turn.Broadcast()
}

// fail keeps why writing failed, and takes nothing more.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && !o.closed {
		o.err = err
	}
	o.closed = true
	o.turn.Broadcast()
}

// failure returns why writing failed, or nil.
func (o *outbox) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// writeLoop writes what is in the outbox as long as the connection is good.
func (c *Conn) writeLoop() {
	defer c.workers.Done()
	for p := c.out.take(); p != nil; p = c.out.take() {
		if _, err := c.nc.Write(p); err != nil {
			c.out.fail(err)
			break
		}
		c.out.wrote()
	}
	if err := c.out.failure(); err != nil {
		c.writeFailed(err)
	}
}

// writeFailed breaks the connection, but not before what the daemon had to say has been
// read: it may have told why before it closed its end.
func (c *Conn) writeFailed(err error) {
	late := time.NewTimer(c.opts.DrainTimeout)
	defer late.Stop()
	select {
	case <-c.lost:
	case <-late.C:
		c.fail(err)
	}
}
