package server

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// uploadAhead is the number of bytes of an upload that may be read ahead of the store.
	uploadAhead = 256 << 10
	// smallAhead is the number of bytes of the next requests that may be read ahead during
	// other operations.
	smallAhead = 4 << 10
	// readSize is the largest number of bytes of one read.
	readSize = 64 << 10
	// watchDelay is the duration of an operation after which the server looks for a hang-up of
	// the client. Most operations are shorter, and need no second goroutine.
	watchDelay = 3 * time.Millisecond
	// queryWatchDelay is the same for queries that a store answers at once. A timer that must
	// wake the processor so soon costs as much as the answer.
	queryWatchDelay = 100 * time.Millisecond
	// hangUpInterval is the time between two checks for a hang-up that reading does not show.
	hangUpInterval = 100 * time.Millisecond
)

// An inbox reads from the connection.
//
// Usually the goroutine that needs bytes reads them itself. During a long operation, another
// goroutine reads ahead into a buffer. So the client can continue to send while the store works, and
// the server notices at once if the client hangs up.
//
// A client may close only its writing end after its last request, and still wait for replies.
// This ends the stream, but is not a hang-up.
type inbox struct {
	nc       net.Conn
	onHangUp func()       // called when the client has hung up
	flush    func() error // called before a wait for bytes
	onSlow   func()       // called when an operation takes long
	guard    func(func()) // calls a function and handles its panic

	mu           sync.Mutex
	filled       sync.Cond // there are bytes or an error, or the reading goroutine has ended
	emptied      sync.Cond // the buffer has more space, or watched or closed has changed
	buf          []byte    // a ring; nil if nothing is buffered
	first        int       // index in buf of the first buffered byte
	buffered     int       // number of bytes in buf
	nextSize     int       // size of the next buf
	err          error     // why no more bytes can be read
	closed       bool
	watched      bool // a goroutine may read ahead
	readingAhead bool // a goroutine reads ahead
	reading      bool // the goroutine that needs bytes reads from nc
	resumeAhead  bool // start to read ahead when the current read ends
	delay        timeout
	readers      sync.WaitGroup

	// The rest belongs to the goroutine that needs bytes.
	remaining int64         // number of bytes that may be read before extend is called; negative: any number
	extend    func() error  // increases remaining, or fails
	maxWait   time.Duration // timeout of a wait for bytes; 0 or less: none
	stalled   timeout
}

func (b *inbox) init(nc net.Conn) {
	b.nc, b.remaining, b.nextSize = nc, -1, smallAhead
	b.filled.L, b.emptied.L = &b.mu, &b.mu
	b.delay.expire = b.startReadAhead
}

// Read implements io.Reader. It waits for bytes.
func (b *inbox) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		if err := b.extend(); err != nil {
			return 0, err
		}
	}
	if b.remaining > 0 {
		p = p[:min(int64(len(p)), b.remaining)]
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	n, err := b.read(p)
	if b.remaining > 0 {
		b.remaining -= int64(n)
	}
	return n, err
}

func (b *inbox) read(p []byte) (int, error) {
	b.mu.Lock()
	if b.buffered > 0 || b.err != nil {
		defer b.mu.Unlock()
		return b.readBuffered(p)
	}
	b.stalled.start(b.maxWait)
	for b.readingAhead && b.buffered == 0 && b.err == nil {
		b.filled.Wait()
	}
	if b.buffered > 0 || b.err != nil {
		defer b.mu.Unlock()
		n, err := b.readBuffered(p)
		b.stalled.stop(n)
		return n, err
	}
	b.reading = true
	b.mu.Unlock() // not deferred, because Read may panic
	n, err := b.nc.Read(p)
	b.stalled.stop(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if b.resumeAhead && b.watched {
		b.delay.start(watchDelay)
	}
	b.resumeAhead = false
	if err != nil {
		b.setError(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// readBuffered returns buffered bytes, or the error if there are none. The inbox must be
// locked.
func (b *inbox) readBuffered(p []byte) (n int, err error) {
	if b.buffered == 0 {
		return 0, b.err
	}
	for n < len(p) && b.buffered > 0 {
		piece := copy(p[n:], b.buf[b.first:min(b.first+b.buffered, len(b.buf))])
		n += piece
		b.buffered -= piece
		b.first = (b.first + piece) % len(b.buf)
	}
	if b.buffered == 0 && !b.readingAhead {
		b.freeBuffer()
	}
	b.emptied.Signal()
	return n, nil
}

// setError records why no more bytes can be read, and reports a hang-up of the client. The
// inbox must be locked.
func (b *inbox) setError(err error) {
	if b.err == nil {
		b.err = err
	}
	if gone, known := hasHungUp(b.nc); err != io.EOF || gone || !known {
		b.onHangUp()
	}
}

// watch makes the server notice a hang-up of the client. After a delay a goroutine reads ahead
// up to size bytes, until unwatch is called.
func (b *inbox) watch(after time.Duration, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched, b.nextSize = true, size
	b.delay.start(after)
}

func (b *inbox) unwatch() {
	b.delay.stop(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched, b.nextSize = false, smallAhead
	b.emptied.Signal()
}

// startReadAhead starts to read ahead, if the client is still watched.
func (b *inbox) startReadAhead() {
	b.onSlow()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.watched || b.closed || b.readingAhead || b.err != nil:
	case b.reading: // the running read notices a hang-up, too
		b.resumeAhead = true
	default:
		b.readingAhead = true
		b.readers.Go(func() { b.guard(b.readAheadLoop) })
	}
}

// readAheadLoop reads from the connection until that ends or is no longer watched. It has no
// buffer while it waits, because many connections may wait for a long time.
func (b *inbox) readAheadLoop() {
	for b.waitForSpace() {
		waitReadable(b.nc)
		n, err := b.nc.Read(b.readBuffer())
		if b.recordRead(n, err); err == io.EOF {
			b.awaitHangUp()
		}
		if err != nil {
			return
		}
	}
}

// waitForSpace waits until the buffer has space, and reports whether to continue reading.
func (b *inbox) waitForSpace() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.watched && !b.closed && b.err == nil && b.isFull() {
		gone, known := hasHungUp(b.nc)
		if gone {
			b.setError(io.EOF)
			break
		}
		b.waitEmptied(known)
	}
	b.readingAhead = b.watched && !b.closed && b.err == nil
	if b.buffered == 0 {
		b.freeBuffer()
	}
	if !b.readingAhead {
		b.filled.Signal()
	}
	return b.readingAhead
}

func (b *inbox) isFull() bool { return b.buf != nil && len(b.buf)-b.buffered < len(b.buf)/4 }

// waitEmptied waits until emptied is signalled. With check it waits for at most hangUpInterval.
// The inbox must be locked.
func (b *inbox) waitEmptied(check bool) {
	if check {
		defer time.AfterFunc(hangUpInterval, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.emptied.Signal()
		}).Stop()
	}
	b.emptied.Wait()
}

// readBuffer returns the part of the buffer to read into. No other goroutine uses it before
// recordRead.
func (b *inbox) readBuffer() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		b.buf = newReadBuffer(b.nextSize)
	}
	from := (b.first + b.buffered) % len(b.buf)
	to := min(from+len(b.buf)-b.buffered, len(b.buf))
	return b.buf[from:min(to, from+readSize)]
}

// recordRead records the result of a read into readBuffer.
func (b *inbox) recordRead(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.buffered += n
	}
	if err != nil {
		b.readingAhead = false
		b.setError(err)
		if b.buffered == 0 {
			b.freeBuffer()
		}
	}
	b.filled.Signal()
}

// awaitHangUp waits until a client that has closed its writing end hangs up, or the inbox is
// closed.
func (b *inbox) awaitHangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !b.closed {
		if gone, known := hasHungUp(b.nc); gone || !known {
			b.onHangUp()
			return
		}
		b.waitEmptied(true)
	}
}

// close makes further calls of Read return err. A running read of the connection ends when the
// caller closes the connection.
func (b *inbox) close(err error) {
	b.delay.close()
	b.stalled.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.buffered = true, 0
	if !b.readingAhead {
		b.freeBuffer()
	}
	if b.err == nil || b.err == io.EOF {
		b.err = err
	}
	b.filled.Broadcast()
	b.emptied.Broadcast()
}

// uploadBuffers are the large buffers that no connection uses at the moment.
var uploadBuffers = sync.Pool{New: func() any { return new([uploadAhead]byte) }}

// newReadBuffer returns a buffer for reading ahead.
func newReadBuffer(size int) []byte {
	if size == uploadAhead {
		return uploadBuffers.Get().(*[uploadAhead]byte)[:]
	}
	return make([]byte, size)
}

// freeBuffer frees the buffer, which must be empty. The inbox must be locked.
func (b *inbox) freeBuffer() {
	if len(b.buf) == uploadAhead {
		uploadBuffers.Put((*[uploadAhead]byte)(b.buf))
	}
	b.buf, b.first = nil, 0
}
