package monitor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pix/monitor"
)

func connect(conn, pid int) *monitor.Event {
	return &monitor.Event{Conn: conn, Client: &monitor.Client{PID: pid, Command: []string{"connect"}}}
}

func operation(conn int, name string) *monitor.Event {
	return &monitor.Event{Conn: conn, Operation: &monitor.Operation{Name: name, Latency: time.Second}}
}

// A filter about operations selects the connect event of a connection once, before the first event
// that it selects, and not if it selects none.
func TestFilterSelectsConnect(t *testing.T) {
	events := []*monitor.Event{
		connect(1, 10), connect(2, 20), connect(3, 30),
		operation(1, "A"), operation(2, "B"), operation(1, "B"), operation(2, "B"),
		{Conn: 3, Raw: &monitor.Raw{Reason: "raw"}}, {Conn: 1, Close: &monitor.Close{}}, operation(4, "B"),
	}
	for _, c := range []struct {
		filter monitor.Filter
		want   string
	}{
		{monitor.Filter{}, "1 connect, 2 connect, 3 connect, 1 A, 2 B, 1 B, 2 B, 3 raw, 1 close, 4 B"},
		{monitor.Filter{Operations: []string{"b"}}, "2 connect, 2 B, 1 connect, 1 B, 2 B, 3 connect, 3 raw, 4 B"},
		{monitor.Filter{Operations: []string{"b"}, PID: 10}, "1 connect, 1 B"},
		{monitor.Filter{PID: 20}, "2 connect, 2 B, 2 B"},
		{monitor.Filter{Errors: true}, "3 connect, 3 raw"},
		{monitor.Filter{SlowerThan: time.Millisecond, Operations: []string{"A"}}, "1 connect, 1 A, 3 connect, 3 raw"},
	} {
		var got []string
		for _, e := range events {
			for _, e := range c.filter.Select(e) {
				got = append(got, eventName(e))
			}
		}
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", c.filter, got, c.want)
		}
	}
}

// A filter keeps copies of connect events, and not more than its memory allows.
func TestFilterKeepsConnect(t *testing.T) {
	e := connect(1, 10)
	filter := monitor.Filter{Operations: []string{"A"}}
	filter.Select(e)
	e.Client.Command[0] = "another"
	if got := filter.Select(operation(1, "A")); len(got) != 2 || !slices.Equal(got[0].Client.Command, []string{"connect"}) {
		t.Errorf("a kept event changes with the slices of the monitor: %v", got)
	}
	const large, number = 1 << 20, 200
	filter = monitor.Filter{Operations: []string{"A"}}
	for conn := range number {
		e := connect(conn, 10)
		e.Client.Command[0] = strings.Repeat("x", large)
		filter.Select(e)
		filter.Select(e) // a connection may not connect twice, and a recording may say so
	}
	kept := 0
	for conn := range number {
		kept += len(filter.Select(operation(conn, "A"))) - 1
	}
	if kept < 10 || kept > 64 {
		t.Errorf("of %d connect events of %d bytes, %d were kept", number, large, kept)
	}
	filter.Select(connect(1, 10))
	if got := filter.Select(operation(1, "A")); len(got) != 2 {
		t.Errorf("there is no room for a connect event, but no other is kept: %v", got)
	}
}

// eventName returns the number of the connection and the kind of an event.
func eventName(e *monitor.Event) string {
	kind := "close"
	switch {
	case e.Client != nil:
		kind = "connect"
	case e.Operation != nil:
		kind = e.Operation.Name
	case e.Raw != nil:
		kind = e.Raw.Reason
	}
	return string(rune('0'+e.Conn)) + " " + kind
}
