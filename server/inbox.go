package server

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	// uploadAhead is how many bytes of an upload may be read ahead of the store.
	uploadAhead = 256 << 10
	// smallAhead is how many bytes of the next requests may be read ahead of other operations.
	smallAhead = 4 << 10
	// readSize is how many bytes are read ahead at a time.
	readSize = 64 << 10
	// watchDelay is how long an operation lasts before the server watches whether the client
	// hangs up. Most operations are over by then, and need no second goroutine.
	watchDelay = 3 * time.Millisecond
	// queryWatchDelay is the same for queries that a store answers at once. A timer that is
	// due so soon that the processor must be woken for it costs as much as the answer.
	queryWatchDelay = 100 * time.Millisecond
	// hangUpInterval is the time between two checks for a client that hangs up where reading
	// does not show it.
	hangUpInterval = 100 * time.Millisecond
)

// An inbox reads from the connection.
//
// Usually the goroutine that needs bytes reads them itself. While an operation lasts, another
// goroutine reads ahead into a buffer. So the client can send on while the store works, and the
// server notices at once that the client hangs up.
//
// A client may close only its writing end after its last request, and still wait for replies.
// That ends the stream too, but it is no hang-up.
type inbox struct {
	nc      net.Conn
	hungUp  func()       // called when the client has hung up
	flush   func() error // called before a wait for bytes
	slow    func()       // called when an operation lasts
	guarded func(func()) // calls a function on the goroutine that reads ahead

	mu       sync.Mutex
	filled   sync.Cond // there are bytes or an error, or the goroutine reads ahead no longer
	emptied  sync.Cond // the buffer has more space, or watched or closed has changed
	buf      []byte    // a ring; nil if nothing is buffered
	start    int       // of the buffered bytes in buf
	buffered int       // bytes
	size     int       // of the next buf
	err      error     // why no more bytes will come
	closed   bool
	watched  bool // a goroutine may read ahead
	ahead    bool // a goroutine reads ahead
	direct   bool // the goroutine that needs bytes reads from nc
	resume   bool // a goroutine shall read ahead when direct ends
	delay    timeout
	readers  sync.WaitGroup

	// The rest belongs to the goroutine that needs bytes.
	left    int64         // how many bytes may be read before more is called; negative: any number
	more    func() error  // makes left larger, or fails
	limit   time.Duration // of the wait for the next bytes; 0 or less: none
	stalled timeout
}

func (b *inbox) init(nc net.Conn) {
	b.nc, b.left, b.size = nc, -1, smallAhead
	b.filled.L, b.emptied.L = &b.mu, &b.mu
	b.delay.expire = b.readAhead
}

// Read implements io.Reader. It waits for bytes.
func (b *inbox) Read(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.more(); err != nil {
			return 0, err
		}
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	if err := b.flush(); err != nil {
		return 0, err
	}
	n, err := b.read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

func (b *inbox) read(p []byte) (int, error) {
	b.mu.Lock()
	if b.buffered > 0 || b.err != nil {
		defer b.mu.Unlock()
		return b.take(p)
	}
	b.stalled.start(b.limit)
	for b.ahead && b.buffered == 0 && b.err == nil {
		b.filled.Wait()
	}
	if b.buffered > 0 || b.err != nil {
		defer b.mu.Unlock()
		n, err := b.take(p)
		b.stalled.stop(n)
		return n, err
	}
	b.direct = true
	b.mu.Unlock() // not deferred: the connection's own Read may panic
	n, err := b.nc.Read(p)
	b.stalled.stop(n)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.direct = false
	if b.resume && b.watched {
		b.delay.start(watchDelay)
	}
	b.resume = false
	if err != nil {
		b.setError(err)
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// take returns buffered bytes, or the error if there are none. The inbox must be locked.
func (b *inbox) take(p []byte) (n int, err error) {
	if b.buffered == 0 {
		return 0, b.err
	}
	for n < len(p) && b.buffered > 0 {
		piece := copy(p[n:], b.buf[b.start:min(b.start+b.buffered, len(b.buf))])
		n += piece
		b.buffered -= piece
		b.start = (b.start + piece) % len(b.buf)
	}
	if b.buffered == 0 && !b.ahead {
		b.freeBuffer()
	}
	b.emptied.Signal()
	return n, nil
}

// setError notes why no more bytes will come, and whether the client has hung up. The inbox must be
// locked.
func (b *inbox) setError(err error) {
	if b.err == nil {
		b.err = err
	}
	if gone, known := hasHungUp(b.nc); err != io.EOF || gone || !known {
		b.hungUp()
	}
}

// watch makes the server notice a client that hangs up, from the time after until unwatch is called.
// A goroutine then reads ahead up to size bytes.
func (b *inbox) watch(after time.Duration, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched, b.size = true, size
	b.delay.start(after)
}

func (b *inbox) unwatch() {
	b.delay.stop(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched, b.size = false, smallAhead
	b.emptied.Signal()
}

// readAhead starts to read ahead, if that is still wanted.
func (b *inbox) readAhead() {
	b.slow()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.watched || b.closed || b.ahead || b.err != nil:
	case b.direct: // a read notices the hang-up, too
		b.resume = true
	default:
		b.ahead = true
		b.readers.Go(func() { b.guarded(b.fill) })
	}
}

// fill reads from the connection until the connection ends or is no longer watched. It has no buffer
// while it waits, because many connections may wait for a long time.
func (b *inbox) fill() {
	for b.wanted() {
		waitReadable(b.nc)
		n, err := b.nc.Read(b.space())
		if b.put(n, err); err == io.EOF {
			b.awaitHangUp()
		}
		if err != nil {
			return
		}
	}
}

// wanted waits until the buffer has space, and reports whether to read on.
func (b *inbox) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.watched && !b.closed && b.err == nil && b.isFull() {
		gone, known := hasHungUp(b.nc)
		if gone {
			b.setError(io.EOF)
			break
		}
		b.pause(known)
	}
	b.ahead = b.watched && !b.closed && b.err == nil
	if b.buffered == 0 {
		b.freeBuffer()
	}
	if !b.ahead {
		b.filled.Signal()
	}
	return b.ahead
}

func (b *inbox) isFull() bool { return b.buf != nil && len(b.buf)-b.buffered < len(b.buf)/4 }

// pause waits until emptied is signalled. With check it waits for hangUpInterval at most. The inbox must
// be locked.
func (b *inbox) pause(check bool) {
	if check {
		defer time.AfterFunc(hangUpInterval, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.emptied.Signal()
		}).Stop()
	}
	b.emptied.Wait()
}

// space returns where to read ahead. No other goroutine uses it until put.
func (b *inbox) space() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		b.buf = newAhead(b.size)
	}
	from := (b.start + b.buffered) % len(b.buf)
	to := min(from+len(b.buf)-b.buffered, len(b.buf))
	return b.buf[from:min(to, from+readSize)]
}

// put notes that n bytes were read.
func (b *inbox) put(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.buffered += n
	}
	if err != nil {
		b.ahead = false
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
			b.hungUp()
			return
		}
		b.pause(true)
	}
}

// close makes further calls of Read return err. A read from the connection ends when the caller closes
// the connection.
func (b *inbox) close(err error) {
	b.delay.close()
	b.stalled.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.buffered = true, 0
	if !b.ahead {
		b.freeBuffer()
	}
	if b.err == nil || b.err == io.EOF {
		b.err = err
	}
	b.filled.Broadcast()
	b.emptied.Broadcast()
}

// uploadBuffers are the large buffers that no connection uses.
var uploadBuffers = sync.Pool{New: func() any { return new([uploadAhead]byte) }}

// newAhead returns a buffer to read ahead into.
func newAhead(size int) []byte {
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
	b.buf, b.start = nil, 0
}
