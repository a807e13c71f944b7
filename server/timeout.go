package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// minRate is the number of bytes per second that a client must send or read while it holds
// memory that others wait for.
const minRate = 256 << 10

// A timeout expires when a wait lasts longer than its limit. A connection starts and stops its
// timeouts with each request, and almost none expires. So start does not reset a timer that already
// runs: when the timer fires too early, it is armed for the rest. That costs much less.
//
// While the connection holds memory, a timeout also measures how late the client is: the time that
// the server has waited for it, minus the time that its bytes may take at minRate.
type timeout struct {
	expire func()
	holds  *atomic.Int32 // number of accounts that hold memory; nil: lateness is not measured

	mu       sync.Mutex
	since    time.Time // start of the wait; zero: no wait
	deadline time.Time // end of the wait; zero: none
	late     time.Duration
	timer    *time.Timer // nil until the first use
	timerAt  time.Time   // when the timer fires; zero: it is stopped

	closed bool
}

// start begins a wait. A limit of 0 or less means no limit.
func (t *timeout) start(limit time.Duration) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.deadline = now, time.Time{}
	if limit <= 0 || t.closed {
		return
	}
	t.deadline = now.Add(limit)
	if t.timerAt.IsZero() || t.deadline.Before(t.timerAt) {
		t.arm(now, limit)
	}
}

// stop ends the wait, during which the client has sent or read n bytes.
func (t *timeout) stop(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holds != nil && t.holds.Load() > 0 && !t.since.IsZero() {
		allowed := time.Duration(n) * (time.Second / minRate)
		t.late = max(t.late+time.Since(t.since)-allowed, 0)
	}
	t.since, t.deadline = time.Time{}, time.Time{}
}

// lateness returns how late the client is.
func (t *timeout) lateness() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return t.late
	}
	return t.late + time.Since(t.since)
}

// reset sets the lateness to 0. It is called when the connection starts to hold memory.
func (t *timeout) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = 0
	if !t.since.IsZero() {
		t.since = time.Now()
	}
}

// close stops the timer. Later waits do not expire.
func (t *timeout) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline, t.closed = time.Time{}, true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// arm makes the timer fire after d. The timeout must be locked.
func (t *timeout) arm(now time.Time, d time.Duration) {
	t.timerAt = now.Add(d)
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.fire)
		return
	}
	t.timer.Reset(d)
}

func (t *timeout) fire() {
	if t.due() {
		t.expire()
	}
}

// due reports whether the wait has lasted too long. If not, it arms the timer for the rest.
func (t *timeout) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timerAt = time.Time{}
	if t.deadline.IsZero() {
		return false
	}
	now := time.Now()
	if left := t.deadline.Sub(now); left > 0 {
		t.arm(now, left)
		return false
	}
	t.deadline = time.Time{}
	return true
}
