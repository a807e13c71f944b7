package server

import (
	"testing"
	"testing/synctest"
	"time"
)

// A connection is closed if its client stalls while others wait for its memory. It is not
// closed if no other connection waits for its memory, or if it waits itself.
func TestReaper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		stalled, waiter, other, busy := holderOf(b, 1, false), holderOf(b, 1, false), holderOf(b, 2, false), holderOf(b, 1, false)
		for _, h := range []*fakeHolder{stalled, other} {
			h.a.set(20)
			h.late.Store(int64(time.Hour))
		}
		busy.a.set(1)
		time.Sleep(time.Hour)
		if stalled.closed.Load() {
			t.Error("a client was closed although no other connection waits for it")
		}
		served := waiter.inBackground(t, 10)
		waiter.late.Store(int64(time.Hour)) // it holds no memory
		if served() {
			t.Fatal("the wait has ended")
		}
		time.Sleep(2 * reapInterval)
		if !served() || !stalled.closed.Load() {
			t.Error("the stalled client was not closed")
		}
		if other.closed.Load() || busy.closed.Load() || waiter.closed.Load() {
			t.Error("another client was closed")
		}
		for _, h := range []*fakeHolder{stalled, waiter, other, busy} {
			h.a.close()
		}
		checkEmptyBudget(t, b)
	})
}

// If the budget is exhausted by all users together, each stalled connection is closed.
func TestReaperOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		var stalled []*fakeHolder
		for uid := range uint32(3) {
			h := holderOf(b, uid, false)
			h.a.set(25)
			h.late.Store(int64(stallGrace) + 1)
			stalled = append(stalled, h)
		}
		root := holderOf(b, 9, true)
		root.a.set(20)
		waiter := holderOf(b, 5, false)
		if err := waiter.a.acquire(t.Context(), 25); err != nil {
			t.Fatal(err)
		}
		for _, h := range stalled {
			if !h.closed.Load() {
				t.Error("a stalled client was not closed")
			}
		}
		waiter.a.close()
		root.a.close()
		checkEmptyBudget(t, b)
	})
}

// A connection that overdraws makes only its own class wait, so it is closed only for
// connections of that class.
func TestReaperOfOverdrafts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, true)
		full, stalled, root, rootWaits := holderOf(b, 1, false), holderOf(b, 1, false), holderOf(b, 0, true), holderOf(b, 0, true)
		full.a.set(25)
		if err := stalled.a.acquire(t.Context(), 10); err != nil { // overdraws
			t.Fatal(err)
		}
		stalled.late.Store(int64(time.Hour))
		root.a.set(25)
		if err := rootWaits.a.acquire(t.Context(), 10); err != nil { // overdraws, too
			t.Fatal(err)
		}
		third := holderOf(b, 0, true)
		third.inBackground(t, 10)
		time.Sleep(time.Minute)
		if stalled.closed.Load() {
			t.Error("it was closed for a trusted user, who does not wait for it")
		}
		waiter := holderOf(b, 1, false)
		served := waiter.inBackground(t, 10)
		time.Sleep(2 * reapInterval)
		if !served() || !stalled.closed.Load() {
			t.Error("it was not closed for another untrusted user")
		}
		for _, h := range []*fakeHolder{full, stalled, root, rootWaits, third, waiter} {
			h.a.close()
		}
		synctest.Wait()
		checkEmptyBudget(t, b)
	})
}
