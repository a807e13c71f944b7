package monitor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"pix/protocol"
)

// A traceReader finds the events of a trace that has no others.
type traceReader struct {
	handle func(*Event) error
	conns  map[int]*tracedConn
	held   int // bytes of pending requests of all connections
}

// A tracedConn is the state of a connection in a trace.
type tracedConn struct {
	started    time.Time
	pending    []*Operation
	replying   bool // the reply to the first pending operation comes next
	operations int
	held       int // bytes of pending requests
}

func heldBy(op *Operation) int { return len(op.Name) + len(op.Request) + pendingSize }

var errTraceTooLarge = errors.New("the trace has too many requests without a reply, or connections")

const (
	// maxTraceText is the length in bytes to which requests, replies and errors of a trace are cut.
	maxTraceText = 64 << 10
	// maxTraceHeld limits the bytes of all requests of a trace without a reply, and maxTraceConns
	// its connections.
	maxTraceHeld  = 64 << 20
	maxTraceConns = 1 << 20
)

// cutText returns a text of a trace, shortened to maxTraceText bytes in memory of its own.
func cutText(s string) string {
	if len(s) > maxTraceText {
		return strings.ToValidUTF8(s[:maxTraceText], "") + "…"
	}
	return strings.Clone(s)
}

// readTrace reads a trace. Its first line has been read already.
func readTrace(in *bufio.Reader, first string, handle func(*Event) error) error {
	t := &traceReader{handle: handle, conns: make(map[int]*tracedConn)}
	line := first
	for n := 1; ; n++ {
		if line != "" && line[0] != '#' {
			if err := t.line(line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
		var err error
		if line, err = readLine(in); err != nil && (err != io.EOF || line == "") {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

func (t *traceReader) line(line string) error {
	words := strings.SplitN(line, " ", 4)
	if len(words) < 4 {
		return errors.New("it is not a line of a trace")
	}
	at, err := time.Parse("15:04:05.000000", words[0])
	if err != nil {
		return fmt.Errorf("%q is not a time of day", shorten(words[0]))
	}
	number, err := strconv.Atoi(words[1])
	if err != nil || number < 0 {
		return fmt.Errorf("%q is not the number of a connection", shorten(words[1]))
	}
	c := t.conns[number]
	if c == nil {
		if len(t.conns) >= maxTraceConns {
			return errTraceTooLarge
		}
		c = &tracedConn{started: at}
		t.conns[number] = c
	}
	before := c.held
	e := c.event(at, words[2], words[3])
	if t.held += c.held - before; t.held > maxTraceHeld {
		return errTraceTooLarge
	}
	if e == nil {
		return nil
	}
	if e.Close != nil {
		t.held -= c.held
		delete(t.conns, number)
	}
	e.Time, e.Conn = at, number
	return t.handle(e)
}

// event returns the event that a line shows, or nil.
func (c *tracedConn) event(at time.Time, direction, text string) *Event {
	name, rest, _ := strings.Cut(text, " ")
	switch {
	case direction == "×":
		byDaemon, why, _ := protocol.ParseTraceClosed(text)
		e := &Event{Close: &Close{Reason: cutText(why), Operations: c.operations, Duration: at.Sub(c.started)}}
		if byDaemon {
			e.Close.By = FromDaemon
		}
		return e
	case name == "body":
		return nil
	case name == "greeting":
		return greetingEvent(text)
	case direction == "→":
		op := &Operation{Name: cutText(name), Request: cutText(rest), Start: at}
		c.pending = append(c.pending, op)
		c.held += heldBy(op)
		return nil
	case len(c.pending) == 0:
		return nil
	}
	op := c.pending[0]
	switch {
	case c.replying:
		op.Reply = cutText(rest)
	case name == protocol.MessageError.String():
		op.Messages++
		op.Error = cutText(rest)
	default:
		op.Messages++
		c.replying = name == protocol.MessageLast.String()
		if name == protocol.MessageLog.String() {
			op.Logs++
		}
		return nil
	}
	c.pending, c.replying = c.pending[1:], false
	c.operations++
	c.held -= heldBy(op)
	op.Latency = at.Sub(op.Start)
	return &Event{Operation: op}
}

func greetingEvent(text string) *Event {
	p, g, err := protocol.ParseTraceGreeting(text)
	if err != nil {
		return nil
	}
	return &Event{Handshake: &Handshake{
		DaemonVersion: g.DaemonVersion.String(), ClientVersion: p.Version.String(), Version: p.Version.String(),
		DaemonFeatures: p.Features.Names(), Nix: g.NixVersion, Trust: g.Trust.String(),
	}}
}
