package daemon

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"pix/protocol"
)

// A tracer writes the messages of a connection, one per line:
//
//	15:04:05.000000 1 → QueryPathInfo path=/nix/store/…-hello
//
// A line has the time, the number of the connection, the direction (→ to the daemon, ← from it,
// × at the end), and the message in the format of package protocol. Requests are traced in the
// order of sending, so that a reader can match replies to them. A nil tracer writes nothing.
type tracer struct {
	w       *lineWriter
	maxBody int // number of bytes of a body to show; negative: all
	conn    int // the number of the connection

	finished bool // the last line was written; guarded by w.mu
}

// A lineWriter lets several connections write to one trace, one whole line at a time.
type lineWriter struct {
	mu    sync.Mutex
	w     io.Writer
	conns int // number of connections
}

// newTracer returns a tracer for the options, or nil.
func newTracer(o *Options) *tracer {
	if o.Trace == nil {
		return nil
	}
	most := o.TraceBody
	if most == 0 {
		most = protocol.TraceBody
	}
	return &tracer{w: &lineWriter{w: o.Trace}, maxBody: most}
}

// next returns a tracer for another connection, or nil.
func (t *tracer) next() *tracer {
	if t == nil {
		return nil
	}
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	t.w.conns++
	return &tracer{w: t.w, maxBody: t.maxBody, conn: t.w.conns}
}

func (t *tracer) line(direction, text string) {
	now := time.Now().Format("15:04:05.000000")
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	if t.finished {
		return // the connection is closed, so later messages are not traced
	}
	t.finished = direction == closedMark
	defer func() {
		if recover() != nil { // a panic on the goroutine of readLoop would end the program
			t.w.w = io.Discard
		}
	}()
	fmt.Fprintf(t.w.w, "%s %d %s %s\n", now, t.conn, direction, text) // errors are ignored: a failing trace must not fail the call
}

func (t *tracer) greeting(p protocol.Params, g protocol.Greeting) {
	if t != nil {
		t.line("←", p.TraceGreeting(g))
	}
}

func (t *tracer) request(p protocol.Params, r protocol.Request) {
	if t != nil {
		t.line("→", p.TraceRequest(r, t.maxBody))
	}
}

func (t *tracer) message(p protocol.Params, m protocol.Message) {
	if t != nil {
		t.line("←", p.TraceMessage(m, t.maxBody))
	}
}

func (t *tracer) reply(p protocol.Params, op protocol.Op, r protocol.Reply) {
	if t != nil {
		t.line("←", p.TraceReply(op, r, t.maxBody))
	}
}

// body traces a piece of a body.
func (t *tracer) body(direction string, b []byte) {
	if t != nil {
		t.line(direction, protocol.TraceData(b, t.maxBody))
	}
}

// closedMark replaces the direction in the last line of a connection.
const closedMark = "×"

// closed traces which side has ended the connection, and why.
func (t *tracer) closed(why error) {
	if t != nil {
		t.line(closedMark, protocol.TraceClosed(byDaemon(why), why.Error()))
	}
}

// byDaemon reports whether the daemon has ended the connection.
func byDaemon(why error) bool {
	var hung *hangUp
	var ours *bodyError
	return errors.As(why, &hung) || isClosedByPeer(why) && !errors.As(why, &ours)
}
