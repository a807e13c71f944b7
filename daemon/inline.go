package daemon

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"time"

	"pix/protocol"
	"pix/wire"
)

// A query that is the only one of its connection is made inline: its caller writes the request
// and reads the answer, so that no other goroutine runs. In turns with readLoop and writeLoop,
// queries one after another took 1.4 to 1.7 times as long, and 2.8 context switches each
// instead of 1.7.
//
// The caller only reads a complete answer that has arrived in one piece. In all other cases (an
// event, an error, a long answer, a hang-up, the end of the context) it decodes nothing, and
// readLoop reads the same bytes. So the rules about the state of the stream are in readLoop
// alone.

// A reader says which goroutine reads the stream.
type reader int

const (
	loopReads   reader = iota // readLoop
	noReader                  // none; readLoop is in waitIdle, and no call is pending
	callerReads               // the caller of the first pending call; readLoop is in waitIdle
)

// inline is the part of a Conn that serves inline queries.
type inline struct {
	socket syscall.RawConn // nil if the connection does not support inline queries
	wake   chan struct{}   // has an element if reader has become loopReads while readLoop waits
	limit  time.Duration   // idleInterval, except in tests

	// Conn.mu guards these.
	reader reader
	count  uint64 // number of times that readLoop or a caller has stopped reading
	single int    // number of answers in a row after which no other call was pending

	// Only the caller that reads uses these.
	in      *wire.Reader       // decodes the bytes that Conn.in has read ahead
	ahead   bytes.Reader       // the source of in
	request []byte             // the request; nil when it is written or queued
	step    func(uintptr) bool // writeWhenQuiet
}

// initInline enables inline queries on a Unix socket. A trace has the messages in the order in
// which readLoop reads them, so there are no inline queries with a trace.
func (c *Conn) initInline() {
	socket, isUnix := c.nc.(*net.UnixConn)
	if !isUnix || !hasNonblocking || c.opts.trace != nil {
		return
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return
	}
	c.inline.socket = raw
	c.inline.wake = make(chan struct{}, 1)
	c.inline.limit = idleInterval
	c.inline.in = wire.NewReader(&c.inline.ahead, 0)
	c.inline.step = c.writeWhenQuiet
}

// singleQueries is the number of single queries in a row after which queries are made inline.
// Callers at the same time would otherwise change the reader with nearly every query.
const singleQueries = 8

// idleInterval is how long a connection without queries stays without a reader, at least. After
// at most twice this time readLoop reads again, and notices a hang-up.
const idleInterval = 10 * time.Millisecond

// waitIdle lets callers read until readLoop must: a call is pending whose caller does not read,
// the connection is lost, or there was no query for a while.
func (c *Conn) waitIdle() {
	timer := time.NewTimer(c.inline.limit)
	defer timer.Stop()
	count := uint64(0)
	for {
		select {
		case <-c.inline.wake:
			return
		case <-c.lost:
			c.takeReading()
			return
		case <-timer.C:
			var taken bool
			if taken, count = c.takeUnused(count); taken {
				return
			}
			timer.Reset(c.inline.limit)
		}
	}
}

// takeUnused makes readLoop the reader if there was no inline query since the count. It returns
// the present count. The count 0 is before all queries.
func (c *Conn) takeUnused(count uint64) (taken bool, now uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken = c.inline.reader == noReader && c.inline.count == count
	if taken {
		c.inline.reader = loopReads
	}
	return taken, c.inline.count
}

// takeReading makes readLoop the reader of a lost connection. If a caller reads, it waits until
// the caller has stopped: after a loss, the caller wakes readLoop in any case.
func (c *Conn) takeReading() {
	c.mu.Lock()
	if c.inline.reader == noReader {
		c.inline.reader = loopReads
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	<-c.inline.wake
}

// wakeReader makes readLoop the reader, which is in waitIdle. The caller holds c.mu.
func (c *Conn) wakeReader() {
	c.inline.reader = loopReads
	c.inline.wake <- struct{}{} // does not wait: readLoop empties it before it stops reading again
}

// stopReading lets callers read if no call is pending. It reports whether readLoop must be in
// waitIdle. The caller holds c.mu.
func (c *Conn) stopReading() bool {
	if len(c.pending) > 0 {
		c.inline.single = 0
		return false
	}
	c.inline.single++
	if c.inline.single < singleQueries || c.inline.socket == nil || c.err != nil || c.stray {
		return false
	}
	c.inline.reader = noReader
	c.inline.count++
	return true
}

// startReading makes readLoop read before calls are sent whose callers do not read. The caller
// holds c.mu.
func (c *Conn) startReading(ctx context.Context) {
	if c.inline.reader == noReader {
		c.stray = !c.isQuiet()
		c.wakeReader()
	}
	if c.stray {
		c.mu.Unlock()
		defer c.mu.Lock()
		c.awaitBreak(ctx)
	}
}

// awaitBreak waits until readLoop has read the hang-up or the stray message that has arrived
// while no call was pending. Sending a request before that would only hide the reason.
func (c *Conn) awaitBreak(ctx context.Context) {
	late := time.NewTimer(c.opts.DrainTimeout)
	defer late.Stop()
	select {
	case <-c.lost:
		return
	case <-ctx.Done():
	case <-late.C:
	}
	c.fail(errUnrequested) // usually only a part of the message has arrived
}

// isQuiet reports whether there is nothing to read: no byte, no hang-up and no error.
func (c *Conn) isQuiet() (quiet bool) {
	err := c.inline.socket.Control(func(fd uintptr) { quiet = isQuiet(fd) })
	return quiet && err == nil
}

// isBroken reports whether the connection cannot be used. Unlike Err it notices a hang-up that
// readLoop has not read yet.
func (c *Conn) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.inline.reader == noReader && !c.isQuiet() {
		c.stray = true
		c.wakeReader()
	}
	return c.err != nil || c.stray
}

// startInline makes the caller the reader if no call is pending. It returns false if the query
// must be queued.
func (c *Conn) startInline(k *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.inline.reader != noReader || !c.out.startWriting() {
		return false
	}
	c.inline.reader = callerReads
	c.pending = append(c.pending, k)
	return true
}

// runInline writes the request of an inline query, and reads the answer unless readLoop must.
// It returns false if it has written nothing, and the query must be queued.
func (c *Conn) runInline(ctx context.Context, p []byte, k *call) bool {
	c.inline.request = p
	answered := c.exchange(ctx) && c.readInline(k)
	unsent := c.inline.request != nil
	c.inline.request = nil
	c.mu.Lock()
	if answered || unsent {
		c.popPending(false)
	}
	if unsent { // also no request that was queued in the meantime, so there is nothing to answer
		c.stray = !c.isQuiet()
	}
	if !answered && !unsent || !c.stopReading() {
		c.wakeReader()
	}
	c.mu.Unlock()
	if unsent {
		c.out.finishWriting(nil)
		return false
	}
	if answered {
		k.resolve(nil)
		c.releaseSlot(k)
	}
	return true
}

// exchange writes the request and reads ahead some bytes of the answer. It returns false if
// ctx ends first, or an error or an unrequested byte occurs.
func (c *Conn) exchange(ctx context.Context) bool {
	if ctx.Done() == nil {
		return c.writeAndPeek()
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		c.nc.SetReadDeadline(time.Unix(1, 0))
	})
	readable := c.writeAndPeek()
	if !stop() {
		<-ended // a deadline that is set later would interrupt readLoop
		c.nc.SetReadDeadline(time.Time{})
	}
	return readable
}

// writeAndPeek is exchange until the read deadline. RawConn.Read waits between the two calls of
// step until the socket is readable.
func (c *Conn) writeAndPeek() bool {
	err := c.inline.socket.Read(c.inline.step)
	return err == nil && c.inline.request == nil && c.in.Peek() == nil
}

// writeWhenQuiet writes the request when it is called first. It leaves the request if something
// has arrived before. It reports whether something has arrived.
func (c *Conn) writeWhenQuiet(fd uintptr) bool {
	p := c.inline.request
	if p == nil || !isQuiet(fd) {
		return true
	}
	c.inline.request = nil
	c.out.finishWriting(p[tryWrite(fd, p):])
	return false
}

// readInline decodes the answer from the bytes that were read ahead. It returns false, and
// leaves all of them, unless they contain the complete answer. Decoding the same bytes again
// sets the same fields of the reply.
func (c *Conn) readInline(k *call) bool {
	in := c.inline.in
	c.inline.ahead.Reset(c.in.Ahead())
	in.Reset(&c.inline.ahead)
	if m, err := c.params.ReadMessage(in); err != nil || m.Kind != protocol.MessageLast {
		return false
	}
	if err := c.params.ReadReply(in, k.op, k.reply); err != nil {
		return false
	}
	return c.in.Discard(uint64(in.Offset())) == nil
}
