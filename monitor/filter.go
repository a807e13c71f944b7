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

	clients map[int]int // the PID of each connection
}

// Match reports whether the filter selects an event. It must get the events in their order. If the
// filter is about operations, it selects no events about connections, except failures and raw ones.
func (f *Filter) Match(e *Event) bool {
	if e.Client != nil {
		if f.clients == nil {
			f.clients = make(map[int]int)
		}
		f.clients[e.Conn] = e.Client.PID
	}
	pid := f.clients[e.Conn]
	if e.Close != nil || e.Failure != nil {
		delete(f.clients, e.Conn)
	}
	if f.PID != 0 && pid != f.PID {
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
