package monitor

import (
	"bufio"
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
}

// A tracedConn is the state of a connection in a trace.
type tracedConn struct {
	started    time.Time
	pending    []*Operation
	replying   bool // the reply to the first pending operation comes next
	operations int
}

// readTrace reads a trace. Its first line has been read already.
func readTrace(in *bufio.Reader, first string, handle func(*Event) error) error {
	t := &traceReader{handle, make(map[int]*tracedConn)}
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
		return fmt.Errorf("it is not a line of a trace")
	}
	at, err := time.Parse("15:04:05.000000", words[0])
	if err != nil {
		return fmt.Errorf("%q is not a time of day", words[0])
	}
	number, err := strconv.Atoi(words[1])
	if err != nil || number < 0 {
		return fmt.Errorf("%q is not the number of a connection", words[1])
	}
	c := t.conns[number]
	if c == nil {
		c = &tracedConn{started: at}
		t.conns[number] = c
	}
	e := c.event(at, words[2], words[3])
	if e == nil {
		return nil
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
		e := &Event{Close: &Close{Reason: why, Operations: c.operations, Duration: at.Sub(c.started)}}
		if byDaemon {
			e.Close.By = FromDaemon
		}
		return e
	case name == "body":
		return nil
	case name == "greeting":
		return greetingEvent(text)
	case direction == "→":
		c.pending = append(c.pending, &Operation{Name: name, Request: rest, Start: at})
		return nil
	case len(c.pending) == 0:
		return nil
	}
	op := c.pending[0]
	switch {
	case c.replying:
		op.Reply = rest
	case name == protocol.MessageError.String():
		op.Messages++
		op.Error = rest
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
