package server

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"pix/activity"
	"pix/internal/unsupported"
	"pix/protocol"
	"pix/store"
)

// A tunnel sends the client what the store reports during the work on a request. It is the
// event handler in the context of every operation.
//
// If the client reads more slowly than the store reports, the store waits, so that the log of a build
// does not fill the memory. There are two exceptions. In both, messages that do not fit into the outbox are
// dropped, and the client gets their number:
//
//   - A client may send all of an upload before it reads anything, so a store that waited for the client would wait
//     forever.
//   - A client that reads nothing for logTime, for example because it was stopped, would hold its build slots until
//     the connection stalls, and keep other clients waiting. So its builds continue. Their log files are complete.
type tunnel struct {
	params   protocol.Params
	out      *outbox
	settings *settingsHolder

	uploading atomic.Bool // the request has a body that is not read completely

	abort func(error) // closes the connection

	mu      sync.Mutex
	working bool // between the request and the end of the work
	behind  bool // the client has read nothing for logTime, and nothing since
	dropped int
}

// HandleEvent sends an event, unless the work is done. The store may call it on its own
// goroutine. So it recovers from a panic, which would end the process.
func (t *tunnel) HandleEvent(e activity.Event) {
	defer func() {
		if v := recover(); v != nil {
			t.abort(newPanicError(v))
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
	case t.out.tryQueue(p):
		t.behind = false
	case t.behind || t.uploading.Load() || !t.out.queueWithin(p, logTime):
		t.behind = !t.uploading.Load()
		t.dropped++
	}
}

// firstActivities is the first version that has activities.
var firstActivities = protocol.MakeVersion(20)

// message returns the message for an event. Older clients get a log line for the start of an
// activity, and nothing for its end and its results.
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

// verbosity returns the lowest level of importance at which lines are sent.
func (t *tunnel) verbosity() activity.Verbosity {
	if set := t.settings.current.Load(); set != nil {
		return set.Verbosity
	}
	return activity.LevelInfo
}

// startWork allows messages until the work ends.
func (t *tunnel) startWork() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.working = true
}

// sendReply ends the work and sends the encoded reply. Later events of the store are dropped.
// If another request is already here, the reply may be held back and sent together with the
// next reply.
func (t *tunnel) sendReply(p []byte, another bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lost := t.stopWork(); lost != nil {
		p = append(lost, p...)
	}
	t.out.mayHold()
	return t.out.writeNow(p, another)
}

// sendError ends the work and sends an error. Later events of the store are dropped.
func (t *tunnel) sendError(e *activity.Error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.out.Write(t.appendError(t.stopWork(), e)) // does not wait: the client may be busy sending
	return err
}

// stopWork ends the work. It returns an encoded message with the number of dropped events, or
// nil if none were dropped. The tunnel must be locked.
func (t *tunnel) stopWork() []byte {
	t.working = false
	if t.dropped == 0 {
		return nil
	}
	text := fmt.Sprintf("%d messages were dropped, since they were not read in time", t.dropped)
	t.dropped = 0
	p, _ := t.params.AppendMessage(nil, protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: text}})
	return p
}

// appendError appends the message with an error.
func (t *tunnel) appendError(p []byte, e *activity.Error) []byte {
	p, err := t.params.AppendMessage(p, protocol.Message{Kind: protocol.MessageError, Err: e})
	if err != nil { // the error is too long for the protocol
		short := &activity.Error{Level: activity.LevelError, Message: "the store failed, and its message is too long", Status: 1}
		p, _ = t.params.AppendMessage(p, protocol.Message{Kind: protocol.MessageError, Err: short})
	}
	return p
}

// A rejection is an error before any work. The client gets it twice, and the connection is
// closed.
type rejection struct{ message string }

func (e *rejection) Error() string { return e.message }

// newRejection returns a rejection with the text of Nix.
func newRejection(format string, args ...any) error { return &rejection{fmt.Sprintf(format, args...)} }

// unsupportedOperation returns the error of Nix 2.34 for an operation that the store does not have.
func unsupportedOperation(operation string) error {
	return unsupported.Errorf("operation '%s' is not supported by this store", operation)
}

// clientError returns the error that a client gets for err. An error of another daemon is
// passed on unchanged.
func clientError(err error) *activity.Error {
	var e *activity.Error
	if errors.As(err, &e) {
		return e
	}
	message := err.Error()
	if cannot, ok := errors.AsType[*store.UnsupportedError](err); ok { // its text names a Go type
		message = fmt.Sprintf("this store cannot %s", cannot.What)
	}
	return &activity.Error{Level: activity.LevelError, Message: message, Status: 1}
}

// readError returns the error that a client gets if its request cannot be read, with the text
// of Nix where Nix has one.
func readError(err error) *activity.Error {
	var unknown *protocol.UnsupportedError
	var bad *protocol.Error
	switch {
	case errors.As(err, &unknown):
		err = fmt.Errorf("invalid operation: %w", unknown)
	case errors.Is(err, errTooLarge):
		err = errTooLarge
	case errors.As(err, &bad):
		err = fmt.Errorf("%s: %w", bad.What, bad.Err)
	}
	return clientError(err)
}

// A PanicError is the error of [Serve] after a panic, or a call of [runtime.Goexit], of the store, of a
// function in the options, or of this package. The connection was closed; the server keeps serving the
// others.
type PanicError struct {
	Value any    // the value of the panic; nil for runtime.Goexit
	Stack []byte // the stack of the goroutine
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the goroutine that served the client has exited"
	}
	return fmt.Sprintf("panic while a client was served: %v", e.Value)
}

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// newPanicError is called by a deferred function with what recover returned.
func newPanicError(v any) *PanicError { return &PanicError{v, debug.Stack()} }

// errInternal is the error that a client gets after a panic. It has no details, which may be secret.
var errInternal = errors.New("internal error of the daemon; it has closed the connection")

// guard calls a function on a goroutine of the connection. A panic ends the connection, but not
// the process.
func (c *conn) guard(f func()) {
	returned := false
	defer func() {
		if !returned {
			c.abort(newPanicError(recover()))
		}
	}()
	f()
	returned = true
}

// panicked is called by a deferred function when serving the client has panicked. It sends
// errInternal to the client, and returns the [*PanicError].
func (c *conn) panicked(v any) error {
	err := newPanicError(v)
	return c.reject(clientError(errInternal), err)
}
