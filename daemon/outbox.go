package daemon

import (
	"sync"
	"time"
)

// outboxRoom is how many bytes of an upload may wait for the daemon to take them.
const outboxRoom = 256 << 10

// An outbox holds what is to be written. Requests go in without waiting, since there can
// only be as many as the connection has slots; the body of an upload waits for room.
type outbox struct {
	mu     sync.Mutex
	filled sync.Cond // there are bytes, or it is closed
	taken  sync.Cond // there is room, or it is closed
	buf    []byte
	spare  []byte // the buffer that was written last
	closed bool
	err    error // why writing failed
}

func (o *outbox) init() {
	o.filled.L, o.taken.L = &o.mu, &o.mu
}

// put appends p without waiting.
func (o *outbox) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, p...)
	o.filled.Signal()
}

// Write appends p when there is room. It implements io.Writer for uploads.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) >= outboxRoom && !o.closed {
		o.taken.Wait()
	}
	if o.closed {
		return 0, ErrConnLost
	}
	o.buf = append(o.buf, p...)
	o.filled.Signal()
	return len(p), nil
}

// take returns what is to be written, waiting for it; nil when the outbox is closed.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && !o.closed {
		o.filled.Wait()
	}
	if o.closed {
		return nil
	}
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	o.taken.Broadcast()
	return full
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.filled.Broadcast()
	o.taken.Broadcast()
}

func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
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
	for {
		p := c.out.take()
		if p == nil {
			return
		}
		if _, err := c.nc.Write(p); err != nil {
			c.writeFailed(err)
			return
		}
	}
}

// writeFailed breaks the connection, but not before what the daemon had to say has been
// read: it may have told why before it closed its end.
func (c *Conn) writeFailed(err error) {
	c.out.fail(err)
	c.out.close()
	select {
	case <-c.lost:
	case <-time.After(c.opts.DrainTimeout):
		c.fail(err)
	}
}
