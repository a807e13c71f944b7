package server

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// outboxRoom is how many bytes of replies and archives may wait for the client, before
	// whoever writes them waits.
	outboxRoom = 256 << 10
	// writeSize is how many bytes are written to the connection at a time: each time the
	// client has StallTimeout to take them.
	writeSize = 128 << 10
)

// errClosed says that the connection is given up, and nothing can be written any more.
var errClosed = errors.New("the connection is closed")

// An outbox takes bytes from whoever has something to say to the connection. Its own
// goroutine writes them, so that an operation that is told much and read little does not
// wait for a client that waits for it.
type outbox struct {
	mu     sync.Mutex
	filled sync.Cond // there are bytes, or it ends
	taken  sync.Cond // there is room, or it is closed
	buf    []byte
	spare  []byte // the buffer that was written last
	ending bool   // what there is, is the last
	closed bool
}

func (o *outbox) init() { o.filled.L, o.taken.L = &o.mu, &o.mu }

// put appends p without waiting.
func (o *outbox) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.buf = append(o.buf, p...)
	o.filled.Signal()
}

// Write appends p when there is room. It implements io.Writer.
func (o *outbox) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) >= outboxRoom && !o.closed {
		o.taken.Wait()
	}
	if o.closed {
		return 0, errClosed
	}
	o.buf = append(o.buf, p...)
	o.filled.Signal()
	return len(p), nil
}

// rest lets go of large buffers, where nothing is to be said for the moment.
func (o *outbox) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	const keep = 16 << 10
	if cap(o.spare) > keep {
		o.spare = nil // the writer may still have it, and then is its last user
	}
	if len(o.buf) == 0 && cap(o.buf) > keep {
		o.buf = nil
	}
}

// waiting returns how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

// take returns what is to be written, waiting for it; nil at the end.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && !o.closed && !o.ending {
		o.filled.Wait()
	}
	if o.closed || len(o.buf) == 0 {
		return nil
	}
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	o.taken.Broadcast()
	return full
}

// end lets what there is be written, and then drain return.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ending = true
	o.filled.Signal()
}

// close drops what there is.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.buf, o.spare = true, nil, nil
	o.filled.Broadcast()
	o.taken.Broadcast()
}

// drain writes to the connection until the end, and returns why it could not. When the
// client takes nothing for that long (0 and negative: ever), giveUp is called.
func (o *outbox) drain(nc net.Conn, patient time.Duration, giveUp func()) error {
	timer := time.AfterFunc(time.Hour, giveUp)
	defer timer.Stop()
	timer.Stop()
	for p := o.take(); p != nil; p = o.take() {
		for len(p) > 0 {
			if patient > 0 {
				timer.Reset(patient)
			}
			n, err := nc.Write(p[:min(len(p), writeSize)])
			timer.Stop()
			if err != nil {
				return err
			}
			p = p[n:]
		}
	}
	return nil
}
