package server

import (
	"fmt"
	"sync"
	"sync/atomic"

	"pix/activity"
	"pix/protocol"
)

// A tunnel sends the client what the store reports during the work on a request. It is the
// handler in the context of every operation.
//
// If the client does not read as fast as the store reports, the store waits: the log of a build
// must not fill the memory. An upload is an exception. A client may send all of it before it
// reads anything, so a store that waited for the client would wait forever. Messages that do not
// fit into the outbox are dropped then, and the client learns how many.
type tunnel struct {
	params   protocol.Params
	out      *outbox
	settings *settingsHolder

	uploading atomic.Bool // there is a body that is not at its end

	failed func(error) // closes the connection

	mu      sync.Mutex
	working bool // between the request and the end of the work
	dropped int
}

// HandleEvent sends an event, unless the work is done. The store may call it on a goroutine of
// its own, where a panic would end the process.
func (t *tunnel) HandleEvent(e activity.Event) {
	defer func() {
		if v := recover(); v != nil {
			t.failed(newPanicError(v))
		}
	}()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.working {
		return
	}
	if line, ok := e.(activity.Log); ok && line.Level > t.verbosity() {
		return
	}
	m, ok := t.message(e)
	if !ok {
		return
	}
	p, err := t.params.AppendMessage(nil, m)
	switch {
	case err != nil: // too long for the protocol
	case t.out.tryPut(p):
	case t.uploading.Load():
		t.dropped++
	default:
		t.out.Write(p) // if that fails, the work is cancelled already
	}
}

// firstActivities is the version from which clients know of activities.
var firstActivities = protocol.MakeVersion(20)

// message returns what is sent for an event. To older clients an activity is a line, and
// its end and its results are nothing.
func (t *tunnel) message(e activity.Event) (m protocol.Message, ok bool) {
	m.Event = e
	switch e := e.(type) {
	case activity.Log:
		m.Kind = protocol.MessageLog
		return m, true
	case activity.Start:
		m.Kind = protocol.MessageStart
		if t.params.Version < firstActivities {
			m.Kind, m.Event = protocol.MessageLog, activity.Log{Text: e.Text + "..."}
			return m, e.Text != ""
		}
	case activity.Stop:
		m.Kind = protocol.MessageStop
	case activity.Result:
		m.Kind = protocol.MessageEvent
	}
	return m, t.params.Version >= firstActivities
}

// verbosity returns how unimportant a line may be to be sent.
func (t *tunnel) verbosity() activity.Verbosity {
	if set := t.settings.current.Load(); set != nil {
		return set.Verbosity
	}
	return activity.LevelInfo
}

// startWork lets messages through.
func (t *tunnel) startWork() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.working = true
}

// reply ends the work with a reply, which comes encoded, behind the message that announces it.
// What the store tells later is dropped. If another request is here already, the reply may be
// sent together with that to the next.
func (t *tunnel) reply(p []byte, another bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lost := t.endWork(); lost != nil {
		p = append(lost, p...)
	}
	return t.out.send(p, another)
}

// fail ends the work with an error. What the store tells later is dropped.
func (t *tunnel) fail(said *activity.Error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.out.Write(t.appendError(t.endWork(), said)) // the client may be busy sending
	return err
}

// endWork lets no more messages through, and returns one that says how many were dropped, or
// nil. The tunnel must be locked.
func (t *tunnel) endWork() []byte {
	t.working = false
	if t.dropped == 0 {
		return nil
	}
	text := fmt.Sprintf("%d messages were dropped, since they were not read during the upload", t.dropped)
	t.dropped = 0
	p, _ := t.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: text}})
	return p
}

// appendError appends a message that says what failed.
func (t *tunnel) appendError(p []byte, e *activity.Error) []byte {
	p, err := t.params.AppendMessage(p, protocol.Message{Kind: protocol.MessageError, Err: e})
	if err != nil { // what the store said cannot be sent, being too long
		short := &activity.Error{Level: activity.LevelError, Message: "the store failed, and its message is too long", Status: 1}
		p, _ = t.params.AppendMessage(p, protocol.Message{Kind: protocol.MessageError, Err: short})
	}
	return p
}
