package realise

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"pix/storepath"
)

// Slots limit how many derivations are built at once. Callers get them in the order in which they ask.
type Slots struct{ n *semaphore.Weighted }

// NewSlots returns n slots, at least one.
func NewSlots(n int) *Slots { return &Slots{semaphore.NewWeighted(int64(max(1, n)))} }

// acquire waits for a slot. A nil *Slots has any number.
func (s *Slots) acquire(ctx context.Context) error {
	if s == nil {
		return nil
	}
	if err := s.n.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *Slots) release() {
	if s != nil {
		s.n.Release(1)
	}
}

// running are the derivations that calls are building now. The zero value has none.
type running struct {
	mu   sync.Mutex
	ends map[storepath.Path]chan struct{} // closed when the build ends
}

// enter waits until no other call builds the derivation, and marks it as being built until leave is called.
func (r *running) enter(ctx context.Context, drv storepath.Path) (leave func(), err error) {
	for {
		r.mu.Lock()
		other, busy := r.ends[drv]
		if !busy {
			if r.ends == nil {
				r.ends = make(map[storepath.Path]chan struct{})
			}
			own := make(chan struct{})
			r.ends[drv] = own
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.ends, drv)
				r.mu.Unlock()
				close(own)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
