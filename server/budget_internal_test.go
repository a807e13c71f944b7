package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A fakeHolder is a connection with a configurable lateness.
type fakeHolder struct {
	holds  atomic.Int32
	late   atomic.Int64
	closed atomic.Bool
	a      *account
}

func (h *fakeHolder) startHolding()           { h.holds.Add(1) }
func (h *fakeHolder) stopHolding()            { h.holds.Add(-1) }
func (h *fakeHolder) lateness() time.Duration { return time.Duration(h.late.Load()) }
func (h *fakeHolder) closeStalled() {
	h.closed.Store(true)
	h.a.close()
}

// holderOf opens an account of a user.
func holderOf(b *budget, uid uint32, trusted bool) *fakeHolder {
	h := new(fakeHolder)
	h.a = b.open(owner{uid: uid, known: true, trusted: trusted}, h)
	return h
}

// inBackground acquires n bytes on another goroutine. done reports whether it has returned.
func (h *fakeHolder) inBackground(t *testing.T, n int64) (done func() bool) {
	ended := new(atomic.Bool)
	go func() {
		if err := h.a.acquire(t.Context(), n); err == nil {
			ended.Store(true)
		}
	}()
	synctest.Wait()
	return func() bool { synctest.Wait(); return ended.Load() }
}

func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		first, second, third, fourth := holderOf(b, 1, false), holderOf(b, 2, false), holderOf(b, 3, false), holderOf(b, 4, false)
		root, admin := holderOf(b, 0, true), holderOf(b, 5, true)
		for _, h := range []*fakeHolder{first, second, third} {
			if !h.a.tryAcquire(25) || h.a.tryAcquire(1) {
				t.Fatal("a share is not a quarter of the budget")
			}
		}
		// The three hold everything that is available to untrusted users. The rest is reserved
		// for trusted users.
		if fourth.a.tryAcquire(1) {
			t.Error("untrusted users hold more than three quarters")
		}
		if !root.a.tryAcquire(25) {
			t.Error("nothing is reserved for trusted users")
		}
		if admin.a.tryAcquire(1) {
			t.Error("the budget is exceeded")
		}
		first.a.close()
		second.a.close()
		third.a.close()
		// Trusted users who hold their shares do not reduce the share of an untrusted user.
		if root.a.tryAcquire(1) || !admin.a.tryAcquire(25) || !fourth.a.tryAcquire(25) {
			t.Error("a user got no share, or too much")
		}
		for _, h := range []*fakeHolder{root, fourth, admin} {
			h.a.close()
		}
		checkEmptyBudget(t, b)
	})
}

// checkEmptyBudget checks that nothing is left in a budget whose accounts are closed.
func checkEmptyBudget(t *testing.T, b *budget) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.shares) > 0 || len(b.turns) > 0 || b.exceeded != 0 || b.scarce.Load() {
		t.Errorf("%d shares, %d with claims, %d exceeded, scarce %v are left", len(b.shares), len(b.turns), b.exceeded, b.scarce.Load())
	}
	for _, c := range b.classes {
		if c.held != 0 || c.overdraft != nil || c.full {
			t.Errorf("%+v is left", c)
		}
	}
}

// Connections of a user are served in order, and the users in turn.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		var full []*fakeHolder
		for uid := range uint32(4) {
			full = append(full, holderOf(b, uid, true))
			full[uid].a.set(25)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for i := range 3 {
			for uid := range uint32(3) {
				wg.Go(func() {
					h := holderOf(b, 20+uid, true)
					if err := h.a.acquire(t.Context(), 25); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					order = append(order, fmt.Sprintf("%d%d", uid, i))
					mu.Unlock()
					time.Sleep(time.Second)
					h.a.close()
				})
				synctest.Wait()
			}
		}
		for _, h := range full {
			h.a.close()
		}
		wg.Wait()
		if len(order) != 9 {
			t.Fatal(order)
		}
		for i := 0; i < 9; i += 3 { // one of each user, in any order
			slices.Sort(order[i : i+3])
		}
		if want := []string{"00", "10", "20", "01", "11", "21", "02", "12", "22"}; !slices.Equal(order, want) {
			t.Errorf("served in the order %v, want %v", order, want)
		}
		checkEmptyBudget(t, b)
	})
}

// A reply that exists already may exceed the share. Then only its user must wait.
func TestExcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		large, same, other, root := holderOf(b, 1, false), holderOf(b, 1, false), holderOf(b, 2, false), holderOf(b, 0, true)
		if err := same.a.acquire(t.Context(), 0); err != nil || b.scarce.Load() {
			t.Fatal("the budget is not scarce")
		}
		large.a.set(1000)
		served := same.inBackground(t, 0)
		if served() {
			t.Error("a user who exceeds the share acquires more")
		}
		if !other.a.tryAcquire(25) || !root.a.tryAcquire(25) || !root.a.tryAcquire(0) {
			t.Error("the excess counts for other users")
		}
		if large.a.set(25); !served() {
			t.Error("the user waits although the share is no longer exceeded")
		}
		for _, h := range []*fakeHolder{large, same, other, root} {
			h.a.close()
		}
		checkEmptyBudget(t, b)
	})
}

// Connections that each hold a part and wait for the rest are served in the end.
func TestOverdraft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, true)
		var ended sync.WaitGroup
		for i := range 40 {
			h := holderOf(b, uint32(i%3), i%2 == 0)
			ended.Go(func() {
				for range 50 { // 250 bytes, in a budget of 100
					if err := h.a.acquire(t.Context(), 5); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
				h.a.close()
			})
		}
		ended.Wait()
		checkEmptyBudget(t, b)
	})
}

// The excess of an overdraft makes no other connection wait, not even one of the same user.
func TestOverdraftIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, true)
		large, same, other := holderOf(b, 1, false), holderOf(b, 1, false), holderOf(b, 2, false)
		for range 100 {
			if err := large.a.acquire(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}
		if large.a.held != 20 || !large.a.isOverdrawn() || large.holds.Load() != 2 {
			t.Errorf("%d bytes are counted", large.a.held)
		}
		if !same.a.tryAcquire(5) || same.a.tryAcquire(1) || !other.a.tryAcquire(25) {
			t.Error("the overdraft is counted")
		}
		waits := other.inBackground(t, 5)
		if waits() {
			t.Error("two connections overdraw")
		}
		large.a.set(3) // the size of its reply
		if !waits() || large.holds.Load() != 1 {
			t.Error("the next connection may not overdraw")
		}
		for _, h := range []*fakeHolder{large, same, other} {
			h.a.close()
		}
		checkEmptyBudget(t, b)
	})
}

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

func TestCancelledClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, false)
		full, first, second := holderOf(b, 1, false), holderOf(b, 1, false), holderOf(b, 1, false)
		full.a.set(25)
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error)
		go func() { failed <- first.a.acquire(ctx, 25) }()
		synctest.Wait()
		served := second.inBackground(t, 5)
		cancel(errHungUp)
		if err := <-failed; err != errHungUp {
			t.Errorf("%v", err)
		}
		full.a.set(20)
		if !served() {
			t.Error("a cancelled claim keeps the next one waiting")
		}
		for _, h := range []*fakeHolder{full, first, second} {
			h.a.close()
		}
		checkEmptyBudget(t, b)
	})
}

// Connections that act at random are all served in the end, and leave nothing in the budget.
func TestBudgetAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			requests, work := newBudget(1000, 250, true), newBudget(1000, 250, false)
			var ended sync.WaitGroup
			for i := range 60 {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				who, trusted := uint32(rng.IntN(6)), rng.IntN(3) == 0
				h, w := holderOf(requests, who, trusted), holderOf(work, who, trusted)
				ended.Go(func() {
					for range 20 {
						atRandom(t, rng, h, w)
						h.a.set(0)
						w.a.set(0)
					}
					h.a.close()
					w.a.close()
				})
			}
			ended.Wait()
			checkEmptyBudget(t, requests)
			checkEmptyBudget(t, work)
		})
	}
}

// atRandom acquires and releases memory like the request of a connection.
func atRandom(t *testing.T, rng *rand.Rand, h, w *fakeHolder) {
	pause := func() { time.Sleep(time.Duration(rng.IntN(int(time.Second)))) }
	for range rng.IntN(20) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(int(time.Hour))))
		err := h.a.acquire(ctx, int64(rng.IntN(100)))
		cancel()
		if err != nil {
			return
		}
		pause()
	}
	if rng.IntN(2) == 0 { // a long operation
		n := int64(1 + rng.IntN(100))
		if h.a.isOverdrawn() && !w.a.tryAcquire(n) {
			return
		} else if !h.a.isOverdrawn() {
			if err := w.a.acquire(t.Context(), n); err != nil {
				t.Error(err)
			}
		}
	}
	pause()
	h.a.set(int64(rng.IntN(1000))) // the size of the reply
	w.a.set(0)
	pause()
}

// Closing an account twice does not affect the share of later accounts of its user.
func TestCloseTwice(t *testing.T) {
	b := newBudget(100, 25, false)
	first := holderOf(b, 1, false)
	first.a.close()
	second := holderOf(b, 1, false)
	first.a.close()
	third := holderOf(b, 1, false)
	if !second.a.tryAcquire(25) {
		t.Fatal("the share is not available")
	}
	if third.a.tryAcquire(1) {
		t.Error("the user has two shares")
	}
	second.late.Store(int64(time.Hour))
	third.a.claim(1)
	if stalled := b.stalled(); !slices.Contains(stalled, second.a) {
		t.Error("a stalled client keeps its memory")
	}
	second.a.close()
	third.a.close()
}

// A query that needs no memory is answered at once while claims of other users wait.
func TestNothingIsAlwaysGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 25, true)
		holders := []*fakeHolder{holderOf(b, 1, false), holderOf(b, 2, false), holderOf(b, 3, false)}
		for _, h := range holders {
			h.a.set(25)
		}
		for uid := range uint32(2) { // one overdraws, the other waits
			h := holderOf(b, 4+uid, false)
			h.inBackground(t, 10)
			holders = append(holders, h)
		}
		innocent := holderOf(b, 6, false)
		if !innocent.a.tryAcquire(0) {
			t.Error("the query waits")
		}
		for _, h := range append(holders, innocent) {
			h.a.set(0)
		}
		synctest.Wait()
		for _, h := range append(holders, innocent) {
			h.a.close()
		}
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
