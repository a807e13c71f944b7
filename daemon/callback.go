package daemon

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pix/activity"
	"pix/store"
)

// A callback is code of the caller that runs within an exclusive call: a handler, a reader or a
// sequence of an upload, the body of a loop over archives. It may take long, panic, call
// runtime.Goexit, or call the connection again.

// ErrBusy is the error of a call that would wait for itself, because a handler, a reader of an
// upload or the body of a loop over archives makes it on the connection that runs it. A [Pool]
// uses another connection for such a call. A call on another goroutine, or by the holder of an
// open archive, is not recognised: it waits.
var ErrBusy = errors.New("the connection is in use by the call that this call was made in")

// beginCallback records that the connection waits for the caller's code, until endCallback. A
// Pool reads this: see uncountStalled.
func (c *Conn) beginCallback() {
	c.callbacksStarted.Add(1)
	c.callbacks.Add(1)
}

func (c *Conn) endCallback() { c.callbacks.Add(-1) }

// markCaller records that this goroutine runs callbacks of the exclusive call. The end of the
// call clears this.
func (c *Conn) markCaller() {
	if !c.isLeased {
		c.callers.addCurrent()
	}
}

// A callbackReader wraps the caller's reader. Each Read is a callback.
type callbackReader struct {
	c *Conn
	r io.Reader
}

func (r *callbackReader) Read(p []byte) (int, error) {
	r.c.beginCallback()
	defer r.c.endCallback()
	return r.r.Read(p)
}

// callbackObjects wraps the caller's sequence, which is a callback, and its readers.
func (c *Conn) callbackObjects(objects iter.Seq2[store.Import, error]) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		c.beginCallback()
		defer c.endCallback()
		for object, err := range objects {
			object.NAR = &callbackReader{c, object.NAR}
			if !c.yieldObject(object, err, yield) {
				return
			}
		}
	}
}

// yieldObject leaves the callback while an object is uploaded.
func (c *Conn) yieldObject(object store.Import, err error, yield func(store.Import, error) bool) bool {
	c.endCallback()
	defer c.beginCallback()
	return yield(object, err)
}

// goroutines is a set of goroutines.
type goroutines struct {
	mu  sync.Mutex
	ids []string
}

func (g *goroutines) addCurrent() {
	id := goroutineID()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids = append(g.ids, id)
}

// containsCurrent reports whether the set contains the calling goroutine.
func (g *goroutines) containsCurrent() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.ids) > 0 && slices.Contains(g.ids, goroutineID())
}

func (g *goroutines) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids = nil
}

// goroutineID returns the number of the calling goroutine from the start of its stack trace
// ("goroutine 7 [running]:"). There is no other way to detect a call that would wait for
// itself: a handler gets no context that shows it, and calls of other goroutines must wait. It
// takes 10 to 100 microseconds, depending on the depth of the stack. So it is called only once
// by each call that runs callbacks, and by calls that must wait.
func goroutineID() string {
	var trace [40]byte
	n := runtime.Stack(trace[:], false)
	id, _, _ := strings.Cut(strings.TrimPrefix(string(trace[:n]), "goroutine "), " ")
	return id
}

// maxQueuedEvents is the largest size in bytes of the events that wait for the handler.
const maxQueuedEvents = 1 << 20

// An eventQueue passes events from readLoop to the caller. When it is full, events of a query
// are dropped, because the queries after it must not wait. Events of an exclusive call make
// readLoop wait.
type eventQueue struct {
	handler    activity.Handler // nil if the caller has no handler
	blocks     bool
	conn       *Conn
	marked     bool          // markCaller was called
	ready      chan struct{} // has an element if there are events
	space      chan struct{} // has an element if the caller has handled events
	discarding atomic.Bool

	mu      sync.Mutex
	events  []activity.Event
	size    int
	dropped int
}

func (q *eventQueue) init(h activity.Handler, waits bool, c *Conn) {
	q.handler, q.blocks, q.conn = h, waits, c
	if h != nil {
		q.ready, q.space = make(chan struct{}, 1), make(chan struct{}, 1)
	}
}

// push adds an event. If it must wait for space, the wait ends when lost is closed.
func (q *eventQueue) push(e activity.Event, lost <-chan struct{}) {
	if q.handler == nil || q.discarding.Load() {
		return
	}
	for !q.add(e) {
		select {
		case <-q.space:
		case <-lost:
			return
		}
	}
	notify(q.ready)
}

// add adds or drops an event. It returns false if the caller must wait for space.
func (q *eventQueue) add(e activity.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := eventSize(e)
	if q.size > 0 && q.size+size > maxQueuedEvents {
		if !q.blocks {
			q.dropped++
		}
		return !q.blocks
	}
	q.events = append(q.events, e)
	q.size += size
	return true
}

// deliver passes all events to the handler, on the caller's goroutine.
func (q *eventQueue) deliver() {
	if q.handler == nil {
		return
	}
	for {
		q.mu.Lock()
		events, dropped := q.events, q.dropped
		q.events, q.size, q.dropped = nil, 0, 0
		q.mu.Unlock()
		notify(q.space)
		if len(events) == 0 && dropped == 0 {
			return
		}
		q.handle(events, dropped)
	}
}

func (q *eventQueue) handle(events []activity.Event, dropped int) {
	if q.blocks {
		if !q.marked {
			q.conn.markCaller()
			q.marked = true
		}
		q.conn.beginCallback()
		defer q.conn.endCallback()
	}
	for _, e := range events {
		q.handler.HandleEvent(e)
	}
	if dropped > 0 {
		q.handler.HandleEvent(activity.Log{Text: droppedText(dropped)})
	}
}

// discard drops the queued and all later events.
func (q *eventQueue) discard() {
	q.discarding.Store(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events, q.size = nil, 0
	if q.space != nil {
		notify(q.space)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// eventOverhead is the approximate memory of an event in bytes, without its strings.
const eventOverhead = 64

// eventSize returns the approximate memory of an event in bytes.
func eventSize(e activity.Event) int {
	size := eventOverhead
	switch e := e.(type) {
	case activity.Log:
		size += len(e.Text)
	case activity.Start:
		size += len(e.Text) + fieldsSize(e.Fields)
	case activity.Result:
		size += fieldsSize(e.Fields)
	}
	return size
}

func fieldsSize(fields []activity.Field) (size int) {
	for _, f := range fields {
		text, _ := f.Text()
		size += eventOverhead + len(text)
	}
	return size
}

// droppedText returns the log line about n dropped events.
func droppedText(n int) string {
	return fmt.Sprintf("(%d messages of the daemon were dropped: they came faster than they were handled)", n)
}
