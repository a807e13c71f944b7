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

// An outbox takes bytes from whoever has something to say to the connection.
//
// Replies are written by whoever has them, since the next request is not looked at before.
// What an operation tells while it works is written by a goroutine, so that an operation
// that is told much and read little does not wait for a client that waits for it.
type outbox struct {
	nc      net.Conn
	patient time.Duration // how long a client may take nothing; 0 and negative: any time
	stalled alarm         // gives the connection up
	failed  func(error)   // called when writing has failed

	mu      sync.Mutex
	taken   sync.Cond // there is room, or all is written, or it is closed
	buf     []byte
	spare   []byte // the buffer that was written last
	writing bool   // somebody writes to the connection
	closed  bool
	writers sync.WaitGroup
}

func (o *outbox) init(nc net.Conn, patient time.Duration, giveUp func(), failed func(error)) {
	o.nc, o.patient, o.failed = nc, patient, failed
	o.taken.L = &o.mu
	o.stalled.ring = giveUp
}

// put appends p without waiting.
func (o *outbox) put(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.append(p)
}

// append lets p be written. The outbox must be locked.
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
		o.buf = outBuffers.Get().(*outBuffer)[:0]
	}
	o.buf = append(o.buf, p...)
}

// outBuffers are buffers that no connection needs for the moment. A connection has one only
// while something waits, since most have nothing to say most of the time.
var outBuffers = sync.Pool{New: func() any { return new(outBuffer) }}

type outBuffer [outBufferSize]byte

const outBufferSize = 128 << 10

// giveBack lets others have a buffer, unless it has become another one by growing.
func giveBack(buf []byte) {
	if cap(buf) == outBufferSize {
		outBuffers.Put((*outBuffer)(buf[:outBufferSize]))
	}
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
	o.append(p)
	return len(p), nil
}

// send writes p itself, where nobody else writes. If another request is here already, p may
// wait for its reply; then sendHeld must be called before there is any other wait.
func (o *outbox) send(p []byte, another bool) error {
	o.mu.Lock()
	switch {
	case o.closed:
		o.mu.Unlock()
		return errClosed
	case o.writing:
		o.mu.Unlock()
		_, err := o.Write(p)
		return err
	case another && len(o.buf)+len(p) < writeSize:
		o.hold(p)
		o.mu.Unlock()
		return nil
	}
	if len(o.buf) > 0 {
		o.hold(p)
		p, o.buf, o.spare = o.buf, o.spare[:0], o.buf
	}
	return o.sendLocked(p)
}

// sendHeld writes what send has held back.
func (o *outbox) sendHeld() error {
	o.mu.Lock()
	if o.writing || o.closed || len(o.buf) == 0 {
		o.mu.Unlock()
		return nil
	}
	p := o.buf
	o.buf, o.spare = o.spare[:0], o.buf
	return o.sendLocked(p)
}

// kick lets a goroutine write what send has held back.
func (o *outbox) kick() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start()
}

// sendLocked writes p, and unlocks.
func (o *outbox) sendLocked(p []byte) error {
	o.writing = true
	o.mu.Unlock()
	err := o.write(p)
	o.written(err)
	return err
}

// written notes that somebody has written himself.
func (o *outbox) written(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	if err == nil {
		o.start() // somebody may have had more to say meanwhile
	}
	o.taken.Broadcast()
}

// start lets a goroutine write what waits, unless there is one. The outbox must be locked.
func (o *outbox) start() {
	if len(o.buf) > 0 && !o.writing && !o.closed {
		o.writing = true
		o.writers.Go(o.drain)
	}
}

// A sender writes itself.
type sender struct{ *outbox }

// Write implements io.Writer.
func (s sender) Write(p []byte) (int, error) { return len(p), s.send(p, false) }

// rest lets go of large buffers, where nothing is to be said for the moment.
func (o *outbox) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing && len(o.buf) == 0 {
		giveBack(o.buf)
		giveBack(o.spare)
		o.buf, o.spare = nil, nil
	}
}

// waiting returns how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

// flush waits until all is written, or cannot be.
func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start()
	for o.writing && !o.closed {
		o.taken.Wait()
	}
}

// close drops what there is.
func (o *outbox) close() {
	o.stalled.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.buf, o.spare = true, nil, nil
	o.taken.Broadcast()
}

// drain writes what there is, until there is no more.
func (o *outbox) drain() {
	for p := o.take(); p != nil; p = o.take() {
		if err := o.write(p); err != nil {
			o.failed(err)
			return
		}
	}
}

// take returns what is to be written, or nil when there is nothing.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken.Broadcast()
	if len(o.buf) == 0 || o.closed {
		o.writing = false
		return nil
	}
	full := o.buf
	o.buf, o.spare = o.spare[:0], full
	return full
}

// write writes to the connection. There must be one writer only.
func (o *outbox) write(p []byte) error {
	if o.patient > 0 {
		defer o.stalled.stop()
	}
	for len(p) > 0 {
		if o.patient > 0 {
			o.stalled.set(o.patient)
		}
		n, err := o.nc.Write(p[:min(len(p), writeSize)])
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
