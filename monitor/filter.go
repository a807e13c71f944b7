package monitor

import (
	"slices"
	"strings"
	"time"
)

// A Filter selects events. Zero values select all. It may be used by one goroutine at a time.
type Filter struct {
	Operations []string      // names, in any case
	Text       string        // a part of the request, the reply or the error, such as a path
	PID        int           // of the client
	Errors     bool          // only operations that failed
	SlowerThan time.Duration // only operations that took longer

	clients map[int]*filteredClient // of the open connections
	held    int                     // bytes of the connect events in clients
}

// A filteredClient is the client of a connection.
type filteredClient struct {
	pid     int
	connect *Event // nil if it was selected, or if there was no room for it
	size    int    // of connect in bytes
}

// maxHeld limits the connect events that a filter keeps. A recording may come from another user, and
// a monitor never emits so many.
const maxHeld = 64 << 20

// Select returns the events to show for an event, in their order: none, the event, or before it the
// connect event of its connection. It must get the events in their order. If the filter is about
// operations, the events about connections are only failures and raw ones, and the connect event before
// the first event of a connection that it selects.
func (f *Filter) Select(e *Event) []*Event {
	if e.Client != nil {
		f.add(e)
	}
	c := f.clients[e.Conn]
	isSelected := f.match(e, c)
	var connect *Event
	if c != nil && (isSelected || e.Close != nil || e.Failure != nil) {
		connect = c.connect
		f.held -= c.size
		c.connect, c.size = nil, 0
	}
	if e.Close != nil || e.Failure != nil {
		delete(f.clients, e.Conn)
	}
	switch {
	case !isSelected:
		return nil
	case connect != nil && e.Client == nil:
		return []*Event{connect, e}
	}
	return []*Event{e}
}

// add keeps the client of a new connection, with a copy of its slice, which belongs to the monitor.
func (f *Filter) add(e *Event) {
	if f.clients == nil {
		f.clients = make(map[int]*filteredClient)
	}
	if before := f.clients[e.Conn]; before != nil { // in a recording that no monitor has written
		f.held -= before.size
	}
	c := &filteredClient{pid: e.Client.PID}
	f.clients[e.Conn] = c
	size := connectSize(e.Client)
	if f.held+size > maxHeld {
		return
	}
	client := *e.Client
	client.Command = slices.Clone(client.Command)
	c.connect, c.size = &Event{Time: e.Time, Conn: e.Conn, Client: &client}, size
	f.held += size
}

// connectSize returns the approximate size of a connect event in bytes.
func connectSize(c *Client) int {
	const event, text = 512, 16
	size := event + len(c.User)
	for _, arg := range c.Command {
		size += text + len(arg)
	}
	return size
}

// match reports whether the filter selects an event of a client, which is nil if it is unknown.
func (f *Filter) match(e *Event, c *filteredClient) bool {
	if f.PID != 0 && (c == nil || c.pid != f.PID) {
		return false
	}
	if e.Operation != nil {
		return f.matchOperation(e.Operation)
	}
	aboutOperations := len(f.Operations) > 0 || f.Text != "" || f.Errors || f.SlowerThan > 0
	return !aboutOperations || e.Failure != nil || e.Raw != nil && e.Raw.Reason != ""
}

func (f *Filter) matchOperation(op *Operation) bool {
	if len(f.Operations) > 0 && !slices.ContainsFunc(f.Operations, func(name string) bool { return strings.EqualFold(name, op.Name) }) {
		return false
	}
	if f.Errors && op.Error == "" && op.Unfinished == "" || op.Latency <= f.SlowerThan && f.SlowerThan > 0 {
		return false
	}
	return f.Text == "" || strings.Contains(op.Request, f.Text) || strings.Contains(op.Reply, f.Text) || strings.Contains(op.Error, f.Text)
}
