package realise

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"pix/activity"
)

// maxQueued is how many bytes of events a claim queues for its call.
const maxQueued = 256 << 10

// stallTime is how long a build waits for a call that does not take the events from its full queue. Then the call loses
// lines of the log, unless no other call takes them either.
const stallTime = time.Second

// A broadcast keeps the events that a call needs when it joins a running build. The lock of the build guards it.
type broadcast struct {
	space   sync.Cond // a queue has become shorter, or a claim is over
	running []activity.Start
	phase   activity.Event // the last one, or nil
}

// HandleEvent implements [activity.Handler]: it queues an event of the build for all claims.
func (b *sharedBuild) HandleEvent(e activity.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mustWait() {
		stop := time.AfterFunc(stallTime, b.markStalled)
		for b.mustWait() {
			b.events.space.Wait()
		}
		stop.Stop()
	}
	if !b.events.note(e) {
		return
	}
	for _, cl := range b.claims {
		cl.queue.add(e)
		cl.wakeUp()
	}
}

// mustWait reports whether the build waits for a call to take events. The lock of the build is held.
func (b *sharedBuild) mustWait() bool {
	if b.closed {
		return false
	}
	allStalled := true
	for _, cl := range b.claims {
		if cl.queue.isFull() && !cl.queue.stalled {
			return true
		}
		allStalled = allStalled && cl.queue.stalled
	}
	return allStalled
}

// markStalled marks the claims whose queues are full.
func (b *sharedBuild) markStalled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cl := range b.claims {
		cl.queue.stalled = cl.queue.isFull()
	}
	b.events.space.Broadcast()
}

// note records an event for calls that join later, and reports whether calls get it now. The end of the activity of the build
// itself comes from the claims: see [claim.stopActivities].
func (b *broadcast) note(e activity.Event) bool {
	switch e := e.(type) {
	case activity.Start:
		b.running = append(b.running, e)
	case activity.Stop:
		i := slices.IndexFunc(b.running, func(s activity.Start) bool { return s.ID == e.ID })
		if i < 0 || b.running[i].Type == activity.Build {
			return false
		}
		b.running = slices.Delete(b.running, i, i+1)
	case activity.Result:
		if e.Type == activity.SetPhase {
			b.phase = e
		}
	}
	return true
}

// replay queues the activities that are running for a new claim.
func (b *broadcast) replay(cl *claim) {
	for _, start := range b.running {
		cl.queue.add(start)
	}
	if b.phase != nil {
		cl.queue.add(b.phase)
	}
	cl.wakeUp()
}

// An eventQueue has the events of a build that its call has not handled yet. The lock of the build guards it.
type eventQueue struct {
	discard bool // the call has no handler
	events  []activity.Event
	size    int
	stalled bool          // the build does not wait for the call
	started []activity.ID // the activities that the call knows
	lost    int           // events since the queue is full
}

func (q *eventQueue) isFull() bool { return q.size >= maxQueued }

// add adds an event. A full queue takes only the ends of activities.
func (q *eventQueue) add(e activity.Event) {
	if q.discard {
		return
	}
	if stop, ok := e.(activity.Stop); ok {
		if i := slices.Index(q.started, stop.ID); i >= 0 {
			q.started = slices.Delete(q.started, i, i+1)
			q.push(e)
		}
		return
	}
	if q.isFull() {
		q.lost++
		return
	}
	q.noteLost()
	switch e := e.(type) {
	case activity.Start:
		q.started = append(q.started, e.ID)
	case activity.Result:
		if !slices.Contains(q.started, e.ID) {
			return
		}
	}
	q.push(e)
}

// noteLost adds a line for the events that are missing.
func (q *eventQueue) noteLost() {
	if q.lost == 0 {
		return
	}
	q.push(activity.Log{Level: activity.LevelWarn, Text: fmt.Sprintf("warning: %d lines of the log are missing here, because they were not read in time", q.lost)})
	q.lost = 0
}

func (q *eventQueue) push(e activity.Event) {
	q.events = append(q.events, e)
	q.size += eventSize(e)
}

// eventSize returns about how much memory an event takes.
func eventSize(e activity.Event) int {
	size := 64
	var fields []activity.Field
	switch e := e.(type) {
	case activity.Log:
		size += len(e.Text)
	case activity.Start:
		size += len(e.Text)
		fields = e.Fields
	case activity.Result:
		fields = e.Fields
	}
	for _, f := range fields {
		text, _ := f.Text()
		size += 32 + len(text)
	}
	return size
}

// take returns the events and empties the queue.
func (q *eventQueue) take() []activity.Event {
	events := q.events
	q.events, q.size, q.stalled = nil, 0, false
	return events
}
