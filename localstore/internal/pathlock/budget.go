package pathlock

import "context"

// A Budget limits how many locks are held at the same time, because each is an open file. Several stores can share one.
type Budget struct{ slots chan struct{} }

// NewBudget returns a budget of n locks, but at least one.
func NewBudget(n int) *Budget { return &Budget{make(chan struct{}, max(1, n))} }

// Size returns how many locks may be held at once.
func (b *Budget) Size() int { return cap(b.slots) }

// try reports whether another lock may be held, and reserves it.
func (b *Budget) try() bool {
	select {
	case b.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// acquire waits until another lock may be held, and reserves it. No caller holds a lock while it waits, so a lock will
// be released.
func (b *Budget) acquire(ctx context.Context) error {
	select {
	case b.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case b.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *Budget) release() { <-b.slots }
