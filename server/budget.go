package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A budget is an amount of memory, in bytes, that the connections of a server share. Each
// connection has an account. It acquires memory before it uses it, and releases it afterwards.
//
// No user holds more than a share, and untrusted users together hold at most three quarters of the
// budget. So a user who holds a whole share makes only the other connections of that user wait, and
// a quarter is reserved for trusted users.
//
// A connection that needs more than is left waits. Connections of one user are served in their
// order, and the users in turn. Two rules ensure that every wait ends:
//
//   - Several connections may each hold a part of what they need and wait for the rest. Where
//     the budget has overdrafts, one of them, for each class of users (trusted, untrusted), may
//     overdraw: what it acquires from then on is not counted, so it never waits again. When its
//     client has the reply, or when what it holds fits into the share, the next one in turn may
//     overdraw.
//   - A connection may hold memory and wait for its client, which stalls. It is closed as soon
//     as its client is later than stallGrace and another connection waits for that memory.
//
// The size of a reply is known only when it exists. Then it is counted even if the share is
// exceeded, and the user acquires nothing more until the share is large enough again. The excess
// counts for no other user.
type budget struct {
	limit      int64 // for all shares together
	perUser    int64 // the limit of each share
	overdrafts bool

	// scarce means that even acquiring nothing may have to wait. While it is false, most
	// requests need no lock.
	scarce atomic.Bool

	mu       sync.Mutex
	shares   map[owner]*share
	classes  [2]class
	turns    []*share // shares with claims; the first is served next
	exceeded int      // number of exceeded shares
	reaper   *time.Timer
}

const (
	// stallGrace is how late a client may be while other connections wait for the memory that
	// it holds.
	stallGrace = 10 * time.Second
	// reapInterval is the time between two searches for clients that are later than stallGrace.
	reapInterval = time.Second
)

// An owner identifies all connections of a user ID. All clients of unknown users have the same
// owner.
type owner struct {
	uid     uint32
	known   bool
	trusted bool
}

// A class consists of all trusted users, or of all untrusted ones.
type class struct {
	limit     int64
	held      int64    // held by its users, without the excess over their shares
	overdraft *account // the account that overdraws
	full      bool     // a claim waits only because of other users
}

// A share is the part of the budget that the connections of one user may hold.
type share struct {
	class    *class
	limit    int64
	held     int64
	claims   []*claim // in the order of service
	accounts map[*account]struct{}
}

// A claim is a wait for n bytes.
type claim struct {
	a       *account
	n       int64
	granted chan struct{} // closed when the account holds the bytes
}

// An account is the memory that one connection holds.
type account struct {
	b         *budget
	owner     owner
	share     *share
	holder    holder
	held      int64
	overdraws bool
}

// A holder is the connection that owns an account. The budget is locked during all calls except
// closeStalled.
type holder interface {
	startHolding() // an account of the connection starts to hold memory
	stopHolding()  // an account of the connection holds no more memory
	lateness() time.Duration
	closeStalled()
}

// newBudget returns a budget of limit bytes. A user may hold at most perUser bytes of it.
func newBudget(limit, perUser int64, overdrafts bool) *budget {
	b := &budget{limit: limit, perUser: perUser, overdrafts: overdrafts, shares: make(map[owner]*share)}
	b.classes[0].limit, b.classes[1].limit = limit-limit/4, limit
	return b
}

// open opens an account.
func (b *budget) open(o owner, h holder) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[o]
	if s == nil {
		s = &share{class: &b.classes[0], limit: b.perUser, accounts: make(map[*account]struct{})}
		if o.trusted {
			s.class = &b.classes[1]
		}
		b.shares[o] = s
	}
	a := &account{b: b, owner: o, share: s, holder: h}
	s.accounts[a] = struct{}{}
	return a
}

// close releases everything that the account holds, and closes it. It may be called again. By
// then the user may have another share.
func (a *account) close() {
	a.set(0)
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	delete(a.share.accounts, a)
	if len(a.share.accounts) == 0 && a.b.shares[a.owner] == a.share {
		delete(a.b.shares, a.owner)
	}
}

// acquire waits until the account holds n more bytes. If ctx ends first, it returns the cause
// of ctx.
func (a *account) acquire(ctx context.Context, n int64) error {
	if a.tryAcquire(n) {
		return nil
	}
	c := a.claim(n)
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
		a.withdraw(c) // a claim that was just granted stays granted; set releases it later
		return context.Cause(ctx)
	}
}

// tryAcquire acquires n bytes if that is possible without waiting.
func (a *account) tryAcquire(n int64) bool {
	if n == 0 && !a.b.scarce.Load() {
		return true
	}
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if s := a.share; !a.overdraws && (len(s.claims) > 0 || n > 0 && s.class.full || !a.fits(n)) {
		return false
	}
	a.charge(n)
	a.b.update()
	return true
}

// claim begins a wait for n bytes.
func (a *account) claim(n int64) *claim {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	c := &claim{a, n, make(chan struct{})}
	if a.share.claims = append(a.share.claims, c); len(a.share.claims) == 1 {
		a.b.turns = append(a.b.turns, a.share)
	}
	a.b.update()
	return c
}

// withdraw ends a wait.
func (a *account) withdraw(c *claim) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	s := a.share
	s.claims = slices.DeleteFunc(s.claims, func(other *claim) bool { return other == c })
	if len(s.claims) == 0 {
		a.b.turns = slices.DeleteFunc(a.b.turns, func(other *share) bool { return other == s })
	}
	a.b.update()
}

// set makes the account hold n bytes, without waiting. It ends an overdraft if the bytes fit
// into the share.
func (a *account) set(n int64) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	if a.overdraws && (n == 0 || a.fits(n-a.held)) {
		a.overdraws, a.share.class.overdraft = false, nil
		a.holder.stopHolding()
	}
	a.charge(n - a.held)
	a.b.update()
}

// release releases n of the held bytes.
func (a *account) release(n int64) {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.charge(-min(n, a.held))
	a.b.update()
}

// isOverdrawn reports whether the account overdraws.
func (a *account) isOverdrawn() bool {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	return a.overdraws
}

// The budget must be locked for all functions below, except reap and stalled.

// fits reports whether the account may hold n more bytes. If n is 0, only its own share must
// not be exceeded, since other users are not affected.
func (a *account) fits(n int64) bool {
	return a.share.fits(n) && (n == 0 || a.b.fits(a.share.class, n))
}

func (s *share) fits(n int64) bool { return s.held+n <= s.limit }

// fits reports whether the users of a class may hold n more bytes.
func (b *budget) fits(c *class, n int64) bool {
	held := min(b.classes[0].held, b.classes[0].limit) + b.classes[1].held
	return c.held+n <= c.limit && held+n <= b.limit
}

// charge makes the account hold n more bytes.
func (a *account) charge(n int64) {
	if a.overdraws || n == 0 {
		return
	}
	if a.held == 0 {
		a.holder.startHolding()
	}
	s := a.share
	if s.held > s.limit {
		a.b.exceeded--
	}
	s.class.held -= min(s.held, s.limit)
	a.held, s.held = a.held+n, s.held+n
	s.class.held += min(s.held, s.limit)
	if s.held > s.limit {
		a.b.exceeded++
	}
	if a.held == 0 {
		a.holder.stopHolding()
	}
}

// update grants the claims that fit, the users in turn. If claims remain, it starts the reaper.
func (b *budget) update() {
	b.classes[0].full, b.classes[1].full = false, false
	for waiting := 0; waiting < len(b.turns); {
		s := b.turns[0]
		b.turns = b.turns[1:]
		if b.grant(s.claims[0]) {
			s.claims, waiting = s.claims[1:], 0
		} else {
			waiting++
		}
		if len(s.claims) > 0 {
			b.turns = append(b.turns, s)
		}
	}
	b.scarce.Store(len(b.turns) > 0 || b.exceeded > 0)
	if len(b.turns) > 0 && b.reaper == nil {
		b.reaper = time.AfterFunc(reapInterval, b.reap)
	}
}

// grant grants a claim if it fits, or if the account may overdraw.
func (b *budget) grant(c *claim) bool {
	class := c.a.share.class
	switch {
	case (c.n == 0 || !class.full) && c.a.fits(c.n):
		c.a.charge(c.n)
	case b.overdrafts && class.overdraft == nil:
		c.a.holder.startHolding()
		c.a.overdraws, class.overdraft = true, c.a
	default:
		// If it waits only because of other users, no later claim of its class may overtake it.
		class.full = class.full || c.a.share.fits(c.n)
		return false
	}
	close(c.granted)
	return true
}

// reap closes connections of clients that stall while others wait for the memory that they
// hold.
func (b *budget) reap() {
	for _, a := range b.stalled() {
		a.holder.closeStalled()
	}
}

func (b *budget) stalled() (stalled []*account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reaper = nil
	defer b.update()
	full := false                   // a claim waits because of other users
	waited := make(map[*class]bool) // a claim of the class waits
	for _, s := range b.turns {
		full = full || s.fits(s.claims[0].n)
		waited[s.class] = true
	}
	for _, s := range b.shares {
		for a := range s.accounts {
			blocks := a.overdraws && waited[s.class] || a.held > 0 && (full || len(s.claims) > 0)
			if blocks && a.holder.lateness() > stallGrace {
				stalled = append(stalled, a)
			}
		}
	}
	return stalled
}
