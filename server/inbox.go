package server

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// inboxRoom is how many bytes may wait to be read by an operation.
	inboxRoom = 256 << 10
	// readSize is how many bytes are read ahead at a time.
	readSize = 64 << 10
	// watchDelay is how long an operation lasts before it is watched whether its client
	// hangs up. Most are over by then, and need no goroutine but their own.
	watchDelay = 3 * time.Millisecond
)

// errTooLarge says that a request is larger than Options.MaxRequest.
var errTooLarge = errors.New("the request is too large")

// An inbox takes bytes from the connection to whoever reads a request or a body.
//
// Most of the time whoever reads does it himself. While an operation lasts, a goroutine reads
// ahead of it, so that the end of the connection is noticed at once.
type inbox struct {
	nc     net.Conn
	ended  func()       // called when the connection has ended
	before func() error // called before there is a wait for bytes
	late   func()       // called when an operation lasts

	mu      sync.Mutex
	filled  sync.Cond // there are bytes, or err, or nobody reads ahead any more
	taken   sync.Cond // there is room, or no need to read ahead
	ring    *inRing   // what was read ahead; nil where nothing is
	start   int       // of what waits in the ring,
	waiting int       // and how many bytes those are
	err     error     // why no more will come
	closed  bool
	ahead   bool  // a goroutine reads ahead,
	watched bool  // and shall go on
	direct  bool  // somebody reads himself
	delay   alarm // starts the goroutine
	readers sync.WaitGroup

	// The rest belongs to the reader.
	left    int64         // bytes that may be taken before more is asked; negative: any number
	more    func() error  // makes left larger, or says why not
	patient time.Duration // how long to wait for the next bytes; 0 and negative: any time
	stalled alarm         // gives the connection up
}

func (b *inbox) init(nc net.Conn, giveUp, ended func()) {
	b.nc, b.ended = nc, ended
	b.filled.L, b.taken.L = &b.mu, &b.mu
	b.left = -1
	b.stalled.ring, b.delay.ring = giveUp, b.readAhead
}

// Read returns what came, and waits for it. At the end of the connection it is io.EOF.
func (b *inbox) Read(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.more(); err != nil {
			return 0, err
		}
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	if err := b.before(); err != nil {
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
	defer b.mu.Unlock()
	if b.waiting > 0 {
		return b.take(p), nil
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.patient > 0 {
		b.stalled.set(b.patient)
		defer b.stalled.stop()
	}
	for b.ahead {
		b.filled.Wait()
		if b.waiting > 0 {
			return b.take(p), nil
		}
		if b.err != nil {
			return 0, b.err
		}
	}
	b.direct = true
	b.mu.Unlock()
	n, err := b.nc.Read(p)
	b.mu.Lock()
	b.direct = false
	if err != nil {
		b.ended()
		if b.err == nil {
			b.err = err
		}
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// take returns what waits. The inbox must be locked.
func (b *inbox) take(p []byte) (n int) {
	for n < len(p) && b.waiting > 0 {
		piece := copy(p[n:], b.ring[b.start:min(b.start+b.waiting, inboxRoom)])
		n += piece
		b.waiting -= piece
		b.start = (b.start + piece) % inboxRoom
	}
	if b.waiting == 0 && !b.ahead {
		b.giveRingBack()
	}
	b.taken.Signal()
	return n
}

// giveRingBack lets others have the ring, in which nothing waits. The inbox must be locked.
func (b *inbox) giveRingBack() {
	if b.ring != nil {
		inRings.Put(b.ring)
		b.ring, b.start = nil, 0
	}
}

// watch notices from now on, or soon, when the connection ends, until unwatch is called.
func (b *inbox) watch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched = true
	b.delay.set(watchDelay)
}

func (b *inbox) unwatch() {
	b.delay.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched = false
	b.taken.Signal()
}

// readAhead starts to read ahead, if that is still wanted.
func (b *inbox) readAhead() {
	b.late()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.watched || b.closed || b.ahead || b.err != nil:
	case b.direct: // who reads himself notices the end, too
		b.delay.set(watchDelay)
	default:
		b.ahead = true
		b.readers.Go(b.fill)
	}
}

// fill reads from the connection until it ends, or nobody wants it any more. It waits without
// a ring: many connections may wait for long.
func (b *inbox) fill() {
	for b.wanted() {
		waitReadable(b.nc)
		p := b.room()
		n, err := b.nc.Read(p)
		if !b.put(n, err) {
			b.ended()
			return
		}
	}
}

// wanted waits until there is room to read ahead, and reports whether that is still wanted.
func (b *inbox) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.watched && !b.closed && inboxRoom-b.waiting < readSize {
		b.taken.Wait()
	}
	b.ahead = b.watched && !b.closed
	if b.waiting == 0 {
		b.giveRingBack()
	}
	if !b.ahead {
		b.filled.Signal()
	}
	return b.ahead
}

// room returns where to read ahead: nobody else touches it until put.
func (b *inbox) room() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ring == nil {
		b.ring = inRings.Get().(*inRing)
	}
	from := (b.start + b.waiting) % inboxRoom
	to := min(from+inboxRoom-b.waiting, inboxRoom)
	return b.ring[from:min(to, from+readSize)]
}

// put notes that n bytes were read into the room. It reports whether the connection goes on.
func (b *inbox) put(n int, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.waiting += n
	}
	if err != nil {
		b.ahead = false
		if b.err == nil {
			b.err = err
		}
		if b.waiting == 0 {
			b.giveRingBack()
		}
	}
	b.filled.Signal()
	return err == nil
}

// close makes readers fail with that error. Whoever reads from the connection ends when it
// is closed itself.
func (b *inbox) close(err error) {
	b.delay.end()
	b.stalled.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.waiting = true, 0
	if !b.ahead {
		b.giveRingBack()
	}
	if b.err == nil || b.err == io.EOF {
		b.err = err
	}
	b.filled.Broadcast()
	b.taken.Broadcast()
}

// inRings are rings that no connection needs for the moment: most need one only while they
// upload.
var inRings = sync.Pool{New: func() any { return new(inRing) }}

type inRing [inboxRoom]byte
