package pathlock

import "context"

// A Budget limits how many locks are held at once, because each is an open file. Stores can share one.
type Budget struct{ slots chan struct{} }

// NewBudget returns a budget of n locks, and at least one.
func NewBudget(n int) *Budget { return &Budget{make(chan struct{}, max(1, n))} }

// Size returns how many locks may be held at once.
func (b *Budget) Size() int { return cap(b.slots) }

// try reports whether one more lock may be held.
func (b *Budget) try() bool {
	select {
	case b.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// acquire waits until one more lock may be held. No caller holds a lock while it waits, so some lock is released
// in the end.
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
