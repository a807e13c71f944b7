package server

import (
	"sync"
	"time"
)

// An alarm rings when it was set and not stopped for that long. A connection sets and stops
// its alarms with each request, and they hardly ever ring; so the system's timer is left
// alone as far as possible, which costs much less than to move it.
type alarm struct {
	ring func()

	mu    sync.Mutex
	timer *time.Timer // nil until it is needed
	at    time.Time   // when to ring; zero: not at all
	wakes time.Time   // when the timer fires; zero: not at all
}

// set makes the alarm ring after d.
func (a *alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = time.Now().Add(d)
	if a.wakes.IsZero() || a.at.Before(a.wakes) {
		a.wake(d)
	}
}

// stop makes it not ring.
func (a *alarm) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = time.Time{}
}

// end lets go of the timer.
func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = time.Time{}
	if a.timer != nil {
		a.timer.Stop()
	}
}

// wake starts the timer. The alarm must be locked.
func (a *alarm) wake(d time.Duration) {
	a.wakes = time.Now().Add(d)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.fire)
		return
	}
	a.timer.Reset(d)
}

// fire rings, if it is time.
func (a *alarm) fire() {
	if a.due() {
		a.ring()
	}
}

func (a *alarm) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wakes = time.Time{}
	if a.at.IsZero() {
		return false
	}
	if left := time.Until(a.at); left > 0 {
		a.wake(left)
		return false
	}
	a.at = time.Time{}
	return true
}
