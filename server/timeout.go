package server

import (
	"sync"
	"sync/atomic"
	"time"
)

// minRate is how many bytes a second a client must send or read to be in time, while it holds memory
// for which others wait.
const minRate = 256 << 10

// A timeout expires when a wait lasts longer than its limit. A connection starts and stops its
// timeouts with each request, and almost none expires. So start does not reset a timer that already
// runs: when the timer fires too early, it is armed for the rest. That costs much less.
//
// While the connection holds memory, a timeout also measures how late the client is: how long
// the server has waited for it, less the time that the bytes it moved may take at minRate.
type timeout struct {
	expire func()
	holds  *atomic.Int32 // whether the connection holds memory; nil: that does not matter

	mu    sync.Mutex
	since time.Time // when the wait began; zero: there is none
	at    time.Time // when it expires; zero: never
	late  time.Duration
	timer *time.Timer // nil until it is needed
	fires time.Time   // when the timer fires; zero: it does not run

	closed bool
}

// start begins a wait. A limit of 0 or less is none.
func (t *timeout) start(limit time.Duration) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.at = now, time.Time{}
	if limit <= 0 || t.closed {
		return
	}
	t.at = now.Add(limit)
	if t.fires.IsZero() || t.at.Before(t.fires) {
		t.arm(now, limit)
	}
}

// stop ends the wait, in which the client has moved n bytes.
func (t *timeout) stop(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holds != nil && t.holds.Load() > 0 && !t.since.IsZero() {
		allowed := time.Duration(n) * (time.Second / minRate)
		t.late = max(t.late+time.Since(t.since)-allowed, 0)
	}
	t.since, t.at = time.Time{}, time.Time{}
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

// reset sets the lateness to 0. It is called when the connection begins to hold memory.
func (t *timeout) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = 0
	if !t.since.IsZero() {
		t.since = time.Now()
	}
}

// close stops the timer for good.
func (t *timeout) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.closed = time.Time{}, true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// arm makes the timer fire after d. The timeout must be locked.
func (t *timeout) arm(now time.Time, d time.Duration) {
	t.fires = now.Add(d)
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
	t.fires = time.Time{}
	if t.at.IsZero() {
		return false
	}
	now := time.Now()
	if left := t.at.Sub(now); left > 0 {
		t.arm(now, left)
		return false
	}
	t.at = time.Time{}
	return true
}
