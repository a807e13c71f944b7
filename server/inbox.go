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
	inboxRoom = 64 << 10
	// readSize is how many bytes are read from the connection at a time.
	readSize = 32 << 10
)

// errTooLarge says that a request is larger than Options.MaxRequest.
var errTooLarge = errors.New("the request is too large")

// An inbox takes bytes from the connection to whoever reads a request or a body. Its own
// goroutine reads ahead, so that the end of the connection is noticed at once.
type inbox struct {
	mu     sync.Mutex
	filled sync.Cond // there are bytes, or err
	taken  sync.Cond // there is room, or it is closed
	buf    []byte    // buf[start:] waits
	start  int
	err    error // why no more will come
	closed bool

	// The rest belongs to the reader.
	left    int64         // bytes that may be taken before errTooLarge; negative: any number
	patient time.Duration // how long to wait for the next bytes; 0 and negative: any time
	timer   *time.Timer   // calls whoever gives the connection up
}

func (b *inbox) init(giveUp func()) {
	b.filled.L, b.taken.L = &b.mu, &b.mu
	b.left = -1
	b.timer = time.AfterFunc(time.Hour, giveUp)
	b.timer.Stop()
}

// Read returns what came, and waits for it. At the end of the connection it is io.EOF.
func (b *inbox) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLarge
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.start == len(b.buf) && b.err == nil && b.patient > 0 {
		b.timer.Reset(b.patient)
		defer b.timer.Stop()
	}
	for b.start == len(b.buf) {
		if b.err != nil {
			return 0, b.err
		}
		b.filled.Wait()
	}
	n := copy(p, b.buf[b.start:])
	b.start += n
	if b.start == len(b.buf) {
		b.buf, b.start = b.buf[:0], 0
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.taken.Signal()
	return n, nil
}

// fill reads from the connection until it ends, or the inbox is closed, and then calls
// ended.
func (b *inbox) fill(nc net.Conn, ended func(error)) {
	p := make([]byte, readSize)
	for {
		n, err := nc.Read(p)
		if !b.put(p[:n], err) || err != nil {
			ended(err)
			return
		}
	}
}

// put adds what was read, when there is room. It reports whether the inbox is still open.
func (b *inbox) put(p []byte, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.buf)-b.start+len(p) > inboxRoom && !b.closed {
		b.taken.Wait()
	}
	if b.start > 0 && len(b.buf)+len(p) > cap(b.buf) {
		b.buf, b.start = b.buf[:copy(b.buf, b.buf[b.start:])], 0
	}
	b.buf = append(b.buf, p...)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.filled.Signal()
	return !b.closed
}

// close makes readers fail with that error, and fill end as soon as the connection does.
func (b *inbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.buf, b.start = true, nil, 0
	if b.err == nil || b.err == io.EOF {
		b.err = err
	}
	b.filled.Broadcast()
	b.taken.Broadcast()
}
