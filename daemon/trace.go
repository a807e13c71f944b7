package daemon

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pix/protocol"
)

// A tracer writes what goes over a connection, one line for each message:
//
//	15:04:05.000000 1 → QueryPathInfo path=/nix/store/…-hello
//
// the time, the number of the connection, the direction seen from here (→ to the daemon, ←
// from it, × the end), and the message as package protocol shows it. Requests stand in the
// order in which they are sent, so that who reads the trace knows which reply is whose. A nil
// tracer writes nothing.
type tracer struct {
	w    *lineWriter
	most int // bytes of a body to show, negative for all
	conn int // the number of the connection

	ended bool // the last line was written; w.mu guards it
}

// A lineWriter lets several connections write to one trace, a whole line at a time.
type lineWriter struct {
	mu    sync.Mutex
	w     io.Writer
	conns int // that were numbered
}

// newTracer returns the tracer of the options' first connection, or nil.
func newTracer(o *Options) *tracer {
	if o.Trace == nil {
		return nil
	}
	most := o.TraceBody
	if most == 0 {
		most = protocol.TraceBody
	}
	return &tracer{w: &lineWriter{w: o.Trace}, most: most}
}

// next returns a tracer for one more connection, or nil.
func (t *tracer) next() *tracer {
	if t == nil {
		return nil
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.conns++
	return &tracer{w: t.w, most: t.most, conn: t.w.conns}
}

func (t *tracer) line(direction, text string) {
	now := time.Now().Format("15:04:05.000000")
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.ended {
		return // the connection is closed, and its last messages are dropped
	}
	t.ended = direction == closedMark
	defer func() {
		if recover() != nil { // a panic on the goroutine of the read loop would end the program
			t.w.w = io.Discard
		}
	}()
	fmt.Fprintf(t.w.w, "%s %d %s %s\n", now, t.conn, direction, text) // without its error: the trace is no part of the call
}

func (t *tracer) greeting(p protocol.Params, g protocol.Greeting) {
	if t != nil {
		t.line("←", p.TraceGreeting(g))
	}
}

func (t *tracer) request(p protocol.Params, r protocol.Request) {
	if t != nil {
		t.line("→", p.TraceRequest(r, t.most))
	}
}

func (t *tracer) message(p protocol.Params, m protocol.Message) {
	if t != nil {
		t.line("←", p.TraceMessage(m, t.most))
	}
}

func (t *tracer) reply(p protocol.Params, op protocol.Op, r protocol.Reply) {
	if t != nil {
		t.line("←", p.TraceReply(op, r, t.most))
	}
}

// body shows a piece of what follows a request or a reply.
func (t *tracer) body(direction string, b []byte) {
	if t != nil {
		t.line(direction, protocol.TraceData(b, t.most))
	}
}

// closedMark stands in the place of the direction when a connection has ended.
const closedMark = "×"

// closed shows who ended a connection, and why.
func (t *tracer) closed(why error) {
	if t != nil {
		t.line(closedMark, protocol.TraceClosed(byDaemon(why), why.Error()))
	}
}

// byDaemon reports whether it was the daemon that ended a connection.
func byDaemon(why error) bool {
	var hung *hangUp
	var ours *bodyError
	return errors.As(why, &hung) || isEnd(why) && !errors.As(why, &ours)
}
