package server

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// queueSize is the number of bytes of log lines that may wait for the client before the
	// store must wait.
	queueSize = 256 << 10
	// heldSize is the number of bytes of small replies that may be held back until the reply to
	// the next request. It is enough for the replies to 8 KiB of requests for path infos.
	heldSize = 64 << 10
	// logTime is how long the store waits for space for an event. Nix's daemon waits for ever.
	logTime = 30 * time.Second
	// writeSize is the largest number of bytes of one write. The client has StallTimeout to
	// read them.
	writeSize = 128 << 10
)

// errClosed means that the connection is closed and nothing can be written.
var errClosed = errors.New("the connection is closed")

// An outbox writes to the connection.
//
// The goroutine that has a reply writes it itself, since it reads the next request only afterwards.
// Another goroutine writes the events of a running operation. So an operation that reports much
// does not wait for a client that sends an upload and does not read at the same time.
type outbox struct {
	nc      net.Conn
	maxWait time.Duration // timeout of a write; 0 or less: none
	stalled timeout
	onError func(error)  // called after a failed write of the goroutine
	guard   func(func()) // calls a function and handles its panic
	account *account

	mu       sync.Mutex
	progress sync.Cond // there is space, or a writer has ended, or the outbox is closed
	buf      []byte    // not written yet
	spare    []byte    // the previous buf, for reuse
	charged  int64     // number of bytes that the account holds
	writing  bool      // some goroutine writes to the connection
	idle     bool      // nothing was queued since the connection became idle
	slow     bool      // the work takes long: writeNow holds nothing back
	closed   bool
	writers  sync.WaitGroup
}

func (o *outbox) init(nc net.Conn, limit time.Duration) {
	o.nc, o.maxWait = nc, limit
	o.progress.L = &o.mu
}

// queue queues p without waiting. A goroutine writes it.
func (o *outbox) queue(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queueLocked(p)
}

// queueLocked queues p for a goroutine to write. The outbox must be locked.
func (o *outbox) queueLocked(p []byte) {
	if o.closed || len(p) == 0 {
		return
	}
	o.appendLocked(p)
	o.startWriter()
}

// appendLocked appends p to the buffer. The outbox must be locked.
func (o *outbox) appendLocked(p []byte) {
	if o.buf == nil {
		o.buf = outBuffers.Get().(*[heldSize]byte)[:0]
	}
	o.buf = append(o.buf, p...)
	o.idle = false
	o.chargeBuffers()
}

// chargeBuffers charges the buffers to the account. The outbox must be locked.
func (o *outbox) chargeBuffers() {
	if n := int64(cap(o.buf) + cap(o.spare)); o.charged != n {
		o.charged = n
		o.account.set(n)
	}
}

// outBuffers are buffers that no connection uses at the moment. A connection has one only while
// something is queued, because most connections are idle most of the time.
var outBuffers = sync.Pool{New: func() any { return new([heldSize]byte) }}

// freeOutBuffer puts a buffer into outBuffers, unless it has grown.
func freeOutBuffer(buf []byte) {
	if cap(buf) == heldSize {
		outBuffers.Put((*[heldSize]byte)(buf[:heldSize]))
	}
}

// Write waits for space and queues p. It implements io.Writer.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > 0 && len(o.buf)+len(p) > queueSize && !o.closed {
		o.progress.Wait()
	}
	if o.closed {
		return 0, errClosed
	}
	o.queueLocked(p)
	return len(p), nil
}

// queueWithin waits for space for at most that time and queues p. It reports false if there is no space.
func (o *outbox) queueWithin(p []byte, limit time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	expired := false
	timer := time.AfterFunc(limit, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		expired = true
		o.progress.Broadcast()
	})
	defer timer.Stop()
	for len(o.buf) > 0 && len(o.buf)+len(p) > queueSize && !o.closed {
		if expired {
			return false
		}
		o.progress.Wait()
	}
	o.queueLocked(p)
	return true
}

// tryQueue queues p if there is space.
func (o *outbox) tryQueue(p []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf)+len(p) > queueSize {
		return false
	}
	o.queueLocked(p)
	return true
}

// writeNow writes p on the calling goroutine, after any other writer has finished. If another
// request is already here, p may be held back until the reply to that one. Then the caller must
// call flush before it waits for anything else, or startFlush must be called while it waits.
func (o *outbox) writeNow(p []byte, another bool) error {
	o.mu.Lock()
	another = another && !o.slow
	for o.writing && !o.closed && len(o.buf)+len(p) > heldSize {
		o.progress.Wait()
	}
	switch {
	case o.closed:
		o.mu.Unlock()
		return errClosed
	case (o.writing || another) && len(o.buf)+len(p) <= heldSize:
		o.appendLocked(p) // the other goroutine writes it, or the next call of writeNow
		o.mu.Unlock()
		return nil
	}
	held := o.swap()
	if another && len(p) <= heldSize {
		o.appendLocked(p)
		p = nil
	}
	return o.writeAndUnlock(held, p)
}

// flush writes what writeNow has held back.
func (o *outbox) flush() error {
	o.mu.Lock()
	if o.writing || o.closed || len(o.buf) == 0 {
		o.mu.Unlock()
		return nil
	}
	return o.writeAndUnlock(o.swap(), nil)
}

// swap returns the buffered bytes. The caller must write them before the next call. The outbox
// must be locked.
func (o *outbox) swap() []byte {
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	return full
}

// startFlush lets a goroutine write what writeNow has held back. Nothing calls it again during the same
// work, so writeNow holds nothing back until mayHold is called.
func (o *outbox) startFlush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow = true
	o.startWriter()
}

// mayHold allows writeNow to hold bytes back, until startFlush is called.
func (o *outbox) mayHold() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slow = false
}

// writeAndUnlock unlocks the outbox, and writes held and then p.
func (o *outbox) writeAndUnlock(held, p []byte) error {
	o.writing = true
	o.mu.Unlock()
	err := errClosed // the result if Write panics
	defer func() { o.doneWriting(err) }()
	if err = o.write(held); err == nil {
		err = o.write(p)
	}
	return err
}

// doneWriting records that the calling goroutine no longer writes.
func (o *outbox) doneWriting(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	if err == nil {
		o.startWriter() // more may have been queued meanwhile
	}
	o.progress.Broadcast()
}

// startWriter starts a goroutine that writes the queue, unless one writes already. The outbox
// must be locked.
func (o *outbox) startWriter() {
	if len(o.buf) > 0 && !o.writing && !o.closed {
		o.writing = true
		o.writers.Go(func() { o.guard(o.writeAll) })
	}
}

// A directWriter is an io.Writer that writes on the calling goroutine.
type directWriter struct{ *outbox }

// Write implements io.Writer.
func (s directWriter) Write(p []byte) (int, error) { return len(p), s.writeNow(p, false) }

// freeBuffers frees the buffers of a connection that becomes idle, as soon as everything is
// written.
func (o *outbox) freeBuffers() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.idle = true
	o.freeIdle()
}

// freeIdle frees the buffers if they are not needed. The outbox must be locked.
func (o *outbox) freeIdle() {
	if o.idle && !o.writing && len(o.buf) == 0 && (o.buf != nil || o.spare != nil) {
		freeOutBuffer(o.buf)
		freeOutBuffer(o.spare)
		o.buf, o.spare = nil, nil
		o.chargeBuffers()
	}
}

// waitWritten waits until everything is written, or the outbox is closed.
func (o *outbox) waitWritten() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.startWriter()
	for o.writing && !o.closed {
		o.progress.Wait()
	}
}

// close drops the queue.
func (o *outbox) close() {
	o.stalled.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.buf, o.spare = true, nil, nil
	o.chargeBuffers()
	o.progress.Broadcast()
}

// writeAll writes the queue until it is empty.
func (o *outbox) writeAll() {
	for p := o.nextBuffer(); p != nil; p = o.nextBuffer() {
		if err := o.write(p); err != nil {
			o.onError(err)
			return
		}
	}
}

// nextBuffer returns the bytes to write, or nil if nothing is queued.
func (o *outbox) nextBuffer() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.progress.Broadcast()
	if len(o.buf) == 0 || o.closed {
		o.writing = false
		o.freeIdle()
		return nil
	}
	return o.swap()
}

// write writes to the connection. Only one goroutine may call it at a time.
func (o *outbox) write(p []byte) error {
	for len(p) > 0 {
		o.stalled.start(o.maxWait)
		n, err := o.nc.Write(p[:min(len(p), writeSize)])
		o.stalled.stop(n)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
