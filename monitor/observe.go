package monitor

import (
	"errors"
	"fmt"
	"io"
	"time"

	"pix/protocol"
)

// An observer decodes a connection and reports its events.
type observer struct {
	m       *Monitor
	conn    int
	tap     *tap
	streams [2]*stream
	record  *recording // nil without a recorder
	started time.Time

	clientVersion, daemonVersion protocol.Version
	clientFeatures               []string
	params                       protocol.Params
	greeted                      bool // params is valid
	greeting                     *Handshake
	handshake                    bool         // the messages after the greeting have not ended
	pending                      []*operation // requests without a reply, in their order
	held                         int          // bytes of the budget for texts of pending
	operations                   int
	raw                          bool
	ends                         int // sides that have closed their stream
	closing                      *Close
	at                           time.Time // of the last piece
}

// An operation is a request whose result has not arrived yet.
type operation struct {
	Operation
	op        protocol.Op
	requested bool  // the request and its body are complete
	from      int64 // the offset of the request
	began     int64 // the offset of the first message
	reads     int   // strings that the daemon has asked for and the client has not sent
	ended     bool
	held      int
}

// maxPending limits the requests that a client may send ahead.
const maxPending = 1 << 16

var errAhead = errors.New("the client has sent too many requests ahead")

func newObserver(m *Monitor, conn int, t *tap, record *recording) *observer {
	o := &observer{m: m, conn: conn, tap: t, record: record, started: time.Now()}
	o.streams[FromClient] = newStream(&m.memory, o.readClient)
	o.streams[FromDaemon] = newStream(&m.memory, o.readDaemon)
	return o
}

// batchDelay is how long the decoder waits for more pieces after the first one. Otherwise the
// system would wake it for each message, at the cost of client and daemon.
const batchDelay = 10 * time.Millisecond

// observe reports the events of a connection. A panic ends its observation, and neither the connection
// nor the program.
func (o *observer) observe(client *Client) {
	defer o.tap.discard()
	defer func() {
		if p := recover(); p != nil {
			o.m.emit(&Event{Time: o.at, Conn: o.conn, Raw: &Raw{Reason: fmt.Sprintf("panic: %v", p)}})
		}
	}()
	o.at = o.started
	client.describe()
	o.emit(&Event{Client: client})
	o.run()
}

// run decodes until both sides have closed their streams.
func (o *observer) run() {
	defer o.finish()
	for _, s := range o.streams {
		s.run()
	}
	delay := time.NewTimer(batchDelay)
	defer delay.Stop()
	var b batch
	for o.ends < 2 {
		<-o.tap.wake
		delay.Reset(batchDelay)
		select {
		case <-o.tap.urgent:
		case <-delay.C:
		}
		b = o.step(b)
	}
	o.m.memory.release(b.size())
}

// step processes the pieces that wait, until there are none. It reuses the buffers of the batch before.
func (o *observer) step(b batch) batch {
	for {
		b = o.tap.swap(b)
		if len(b.pieces) == 0 {
			return b
		}
		o.process(b)
		o.installSkimmers()
		o.record.flush()
	}
}

func (o *observer) process(b batch) {
	data := b.data
	for _, p := range b.pieces {
		bytes := data[:p.held]
		data, o.at = data[p.held:], p.at
		s := o.streams[p.dir]
		switch p.kind {
		case pieceData:
			if o.raw {
				o.showRaw(p.dir, bytes, p.size)
				continue
			}
			s.feed(bytes, p.at)
			if len(s.data) > 0 && s.done {
				o.check(s)
				o.showRaw(p.dir, s.data, int64(len(s.data)))
			}
		case pieceBody:
			if s.contents != nil {
				s.contents(bytes)
			}
		case pieceSkipped:
			if s.skim != nil {
				s.at = p.at
				s.endSkim(p.err)
			}
		case pieceRaw:
			o.makeRaw(p.dir, "the monitor could not follow")
			o.showRaw(p.dir, bytes, p.size)
		case pieceEnd:
			o.end(p)
		}
		o.check(s)
	}
}

// check makes the connection raw if a decoder has failed.
func (o *observer) check(s *stream) {
	if !s.done || o.raw || s.err == nil || s.err == io.EOF || errors.Is(s.err, io.ErrUnexpectedEOF) && s.closed {
		return
	}
	from := FromClient
	if s == o.streams[FromDaemon] {
		from = FromDaemon
	}
	o.makeRaw(from, s.err.Error())
}

// installSkimmers moves skimmers to the copying goroutines.
func (o *observer) installSkimmers() {
	for dir, s := range o.streams {
		if s.skim != nil && !s.inTap && !o.raw {
			s.inTap = o.tap.install(Direction(dir), s.skim)
		}
	}
}

// makeRaw ends the decoding.
func (o *observer) makeRaw(from Direction, reason string) {
	if o.raw {
		return
	}
	o.raw = true
	o.tap.stop()
	o.abandon("the monitor does not understand the connection any further")
	o.record.raw(from, reason)
	o.emit(&Event{Raw: &Raw{Reason: reason, From: from}})
	for _, s := range o.streams {
		s.stop()
		s.done, s.skim = true, nil
		s.endValue()
	}
}

func (o *observer) showRaw(from Direction, b []byte, size int64) {
	if !o.raw {
		return
	}
	o.emit(&Event{Raw: &Raw{From: from, Size: size, Start: append([]byte(nil), b[:min(len(b), rawStart)]...)}})
}

// end handles the end of a side.
func (o *observer) end(p piece) {
	if o.ends++; o.closing == nil {
		o.closing = &Close{By: p.dir}
		if p.err != nil {
			o.closing.Reason = p.err.Error()
		}
	}
	if !o.raw {
		o.takeSkimmer(p.dir)
		o.streams[p.dir].end()
	}
}

// takeSkimmer takes the skimmer of a direction back from the copying goroutine, which has ended.
func (o *observer) takeSkimmer(dir Direction) {
	o.tap.mu.Lock()
	defer o.tap.mu.Unlock()
	o.tap.skim[dir] = nil
}

// finish reports the end of the connection.
func (o *observer) finish() {
	o.abandon("the connection ended")
	for _, s := range o.streams {
		s.stop()
		s.endValue()
	}
	o.m.memory.release(o.held)
	if o.closing == nil {
		return
	}
	o.closing.Up, o.closing.Down = o.tap.total[FromClient], o.tap.total[FromDaemon]
	o.closing.Operations, o.closing.Duration = o.operations, o.at.Sub(o.started)
	o.record.close(o.at, o.closing)
	o.emit(&Event{Close: o.closing})
	o.record.flush()
}

// abandon reports the operations without a reply.
func (o *observer) abandon(why string) {
	pending := o.pending
	o.pending = nil
	for _, op := range pending {
		op.Unfinished = why
		o.report(op)
	}
}

// report reports an operation.
func (o *observer) report(op *operation) {
	op.ended = true
	o.m.memory.release(op.held)
	o.held -= op.held
	op.Latency = max(o.at.Sub(op.Start), 0)
	o.operations++
	shown := op.Operation // the decoder of the client may still count its bytes
	o.emit(&Event{Operation: &shown})
}

func (o *observer) emit(e *Event) {
	e.Conn = o.conn
	if e.Time.IsZero() {
		e.Time = o.at
	}
	o.record.event(e)
	o.m.emit(e)
}
