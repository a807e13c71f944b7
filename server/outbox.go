package server

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// outSize is how many bytes of log lines may wait for the client before the store waits.
	outSize = 256 << 10
	// heldSize is how many bytes of small replies may wait for the reply to the next request. That
	// of 8 KiB of requests for path infos fits.
	heldSize = 64 << 10
	// writeSize is how many bytes are written to the connection at a time. The client has
	// StallTimeout to take them.
	writeSize = 128 << 10
)

// errClosed says that the connection is closed and nothing can be written.
var errClosed = errors.New("the connection is closed")

// An outbox writes to the connection.
//
// The goroutine that has a reply writes it, since the next request is read only afterwards. What
// an operation reports while it works is written by another goroutine. So an operation that
// reports much does not wait for a client that sends an upload and does not read meanwhile.
type outbox struct {
	nc      net.Conn
	limit   time.Duration // of the wait until the client takes something; 0 or less: none
	stalled timeout
	failed  func(error)  // called when writing has failed
	guarded func(func()) // calls a function on the goroutine that writes
	mem     *account

	mu      sync.Mutex
	taken   sync.Cond // there is space, or everything is written, or the outbox is closed
	buf     []byte    // waits to be written
	spare   []byte    // the buffer that was written last
	counted int64     // bytes that mem holds
	writing bool      // a goroutine writes to the connection
	idle    bool      // nothing was held since the connection became idle
	closed  bool
	writers sync.WaitGroup
}

func (o *outbox) init(nc net.Conn, limit time.Duration) {
	o.nc, o.limit = nc, limit
	o.taken.L = &o.mu
}

// put appends p without waiting.
func (o *outbox) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.append(p)
}

// append lets a goroutine write p. The outbox must be locked.
func (o *outbox) append(p []byte) {
	if o.closed || len(p) == 0 {
		return
	}
	o.hold(p)
	o.start()
}

// hold adds p to what waits. The outbox must be locked.
func (o *outbox) hold(p []byte) {
	if o.buf == nil {
		o.buf = outBuffers.Get().(*[heldSize]byte)[:0]
	}
	o.buf = append(o.buf, p...)
	o.idle = false
	o.count()
}

// count counts the buffers in the budget. The outbox must be locked.
func (o *outbox) count() {
	if n := int64(cap(o.buf) + cap(o.spare)); o.counted != n {
		o.counted = n
		o.mem.set(n)
	}
}

// outBuffers are the buffers of that size that no connection uses. A connection has one only while
// something waits, because most connections are idle most of the time.
var outBuffers = sync.Pool{New: func() any { return new([heldSize]byte) }}

// freeOutBuffer returns a buffer to outBuffers, unless it has grown.
func freeOutBuffer(buf []byte) {
	if cap(buf) == heldSize {
		outBuffers.Put((*[heldSize]byte)(buf[:heldSize]))
	}
}

// Write appends p when there is space. It implements io.Writer.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > 0 && len(o.buf)+len(p) > outSize && !o.closed {
		o.taken.Wait()
	}
	if o.closed {
		return 0, errClosed
	}
	o.append(p)
	return len(p), nil
}

// tryPut appends p if there is space.
func (o *outbox) tryPut(p []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf)+len(p) > outSize {
		return false
	}
	o.append(p)
	return true
}

// send writes p itself, when no other goroutine writes. If another request is here already, p may
// wait for the reply to that one. Then sendHeld must be called before any other wait.
func (o *outbox) send(p []byte, another bool) error {
	o.mu.Lock()
	for o.writing && !o.closed && len(o.buf)+len(p) > heldSize {
		o.taken.Wait()
	}
	switch {
	case o.closed:
		o.mu.Unlock()
		return errClosed
	case (o.writing || another) && len(o.buf)+len(p) <= heldSize:
		o.hold(p) // the other goroutine writes it, or the next send
		o.mu.Unlock()
		return nil
	}
	held := o.swap()
	if another && len(p) <= heldSize {
		o.hold(p)
		p = nil
	}
	return o.sendLocked(held, p)
}

// sendHeld writes what send has held back.
func (o *outbox) sendHeld() error {
	o.mu.Lock()
	if o.writing || o.closed || len(o.buf) == 0 {
		o.mu.Unlock()
		return nil
	}
	return o.sendLocked(o.swap(), nil)
}

// swap returns what waits. It must be written before the next call. The outbox must be locked.
func (o *outbox) swap() []byte {
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	return full
}

// wake lets a goroutine write what send has held back.
func (o *outbox) wake() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start()
}

// sendLocked writes the bytes that were held back, then p, and unlocks.
func (o *outbox) sendLocked(held, p []byte) error {
	o.writing = true
	o.mu.Unlock()
	err := errClosed // if the connection's own Write panics
	defer func() { o.written(err) }()
	if err = o.write(held); err == nil {
		err = o.write(p)
	}
	return err
}

// written notes that no goroutine writes any longer.
func (o *outbox) written(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	if err == nil {
		o.start() // there may be more meanwhile
	}
	o.taken.Broadcast()
}

// start lets a goroutine write what waits, unless one writes already. The outbox must be locked.
func (o *outbox) start() {
	if len(o.buf) > 0 && !o.writing && !o.closed {
		o.writing = true
		o.writers.Go(func() { o.guarded(o.writeAll) })
	}
}

// A sender writes itself.
type sender struct{ *outbox }

// Write implements io.Writer.
func (s sender) Write(p []byte) (int, error) { return len(p), s.send(p, false) }

// freeBuffers lets go of the buffers of a connection that becomes idle, as soon as everything is
// written.
func (o *outbox) freeBuffers() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.idle = true
	o.freeIdle()
}

// freeIdle lets go of the buffers if they are not needed. The outbox must be locked.
func (o *outbox) freeIdle() {
	if o.idle && !o.writing && len(o.buf) == 0 && (o.buf != nil || o.spare != nil) {
		freeOutBuffer(o.buf)
		freeOutBuffer(o.spare)
		o.buf, o.spare = nil, nil
		o.count()
	}
}

// wait waits until everything is written, or the outbox is closed.
func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start()
	for o.writing && !o.closed {
		o.taken.Wait()
	}
}

// close drops what waits.
func (o *outbox) close() {
	o.stalled.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.buf, o.spare = true, nil, nil
	o.count()
	o.taken.Broadcast()
}

// writeAll writes what waits, until there is no more.
func (o *outbox) writeAll() {
	for p := o.next(); p != nil; p = o.next() {
		if err := o.write(p); err != nil {
			o.failed(err)
			return
		}
	}
}

// next returns the bytes to write, or nil if nothing waits.
func (o *outbox) next() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken.Broadcast()
	if len(o.buf) == 0 || o.closed {
		o.writing = false
		o.freeIdle()
		return nil
	}
	return o.swap()
}

// write writes to the connection. Only one goroutine does so at a time.
func (o *outbox) write(p []byte) error {
	for len(p) > 0 {
		o.stalled.start(o.limit)
		n, err := o.nc.Write(p[:min(len(p), writeSize)])
		o.stalled.stop(n)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
