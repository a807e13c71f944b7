package daemon

import (
	"sync"
	"sync/atomic"

	"pix/activity"
)

// eventRoom is how many bytes of events may wait for the handler.
const eventRoom = 1 << 20

// An eventQueue takes events from the read loop to the caller. When it is full, those of
// a query are dropped, for its neighbours must not wait; those of an exclusive call make
// the read loop wait.
type eventQueue struct {
	handler activity.Handler // nil if nobody wants to know
	waits   bool
	conn    *Conn
	marked  bool          // conn knows on which goroutine the handler runs
	ready   chan struct{} // has an element when there are events
	room    chan struct{} // has an element when the caller took some
	left    atomic.Bool

	mu      sync.Mutex
	events  []activity.Event
	size    int
	dropped int
}

func (q *eventQueue) init(h activity.Handler, waits bool, c *Conn) {
	q.handler, q.waits, q.conn = h, waits, c
	if h != nil {
		q.ready, q.room = make(chan struct{}, 1), make(chan struct{}, 1)
	}
}

// push adds an event. It waits, if it must, until lost is closed.
func (q *eventQueue) push(e activity.Event, lost <-chan struct{}) {
	if q.handler == nil || q.left.Load() {
		return
	}
	for !q.add(e) {
		select {
		case <-q.room:
		case <-lost:
			return
		}
	}
	notify(q.ready)
}

// add adds an event, or drops it; it returns false if it must wait.
func (q *eventQueue) add(e activity.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := eventSize(e)
	if q.size > 0 && q.size+size > eventRoom {
		if !q.waits {
			q.dropped++
		}
		return !q.waits
	}
	q.events = append(q.events, e)
	q.size += size
	return true
}

// deliver hands all events to the handler, on the caller's goroutine.
func (q *eventQueue) deliver() {
	if q.handler == nil {
		return
	}
	for {
		q.mu.Lock()
		events, dropped := q.events, q.dropped
		q.events, q.size, q.dropped = nil, 0, 0
		q.mu.Unlock()
		notify(q.room)
		if len(events) == 0 && dropped == 0 {
			return
		}
		q.handle(events, dropped)
	}
}

func (q *eventQueue) handle(events []activity.Event, dropped int) {
	if q.waits {
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

// leave drops what there is and what will come.
func (q *eventQueue) leave() {
	q.left.Store(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events, q.size = nil, 0
	if q.room != nil {
		notify(q.room)
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
