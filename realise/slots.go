package realise

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	"pix/storepath"
)

// Slots limit how many derivations all calls of a store build at once. Calls get them in the order in which they ask.
type Slots struct {
	n int

	mu      sync.Mutex
	used    int
	waiting []*slotWaiter
}

// A slotWaiter is a build that waits for a slot.
type slotWaiter struct {
	limit int           // it may begin while fewer builds than this run
	ready chan struct{} // closed when it has a slot
}

// NewSlots returns n slots, at least one.
func NewSlots(n int) *Slots { return &Slots{n: max(1, n)} }

// acquire waits for a slot. A call that may build more at once than there are slots, and no more than the machine has
// processors, can exceed their number by its own builds: builds of one call may wait for each other. A nil *Slots has any
// number of slots.
func (s *Slots) acquire(ctx context.Context, maxJobs int) error {
	if s == nil {
		return nil
	}
	w := &slotWaiter{max(s.n, min(maxJobs, runtime.NumCPU())), make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.dispatch()
	s.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // it just got a slot
		s.used--
		s.dispatch()
	}
	return context.Cause(ctx)
}

func (s *Slots) release() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.dispatch()
}

// dispatch gives free slots to the builds that wait. Its caller holds the lock.
func (s *Slots) dispatch() {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *slotWaiter) bool {
		if s.used >= w.limit {
			return false
		}
		s.used++
		close(w.ready)
		return true
	})
}

// turns are the build slots of one call. Goals that wait for one get it in the order of their derivations, by name as in Nix,
// so that the same call without parallel builds always runs the same builds first. No goal gets a slot while another one is
// still preparing, because that one may come first.
type turns struct {
	mu        sync.Mutex
	preparing int // goals that will soon wait for a slot, or for something else
	free      int
	waiting   []*turn // sorted
}

// A turn is a goal that waits for a slot.
type turn struct {
	drv   storepath.Path
	ready chan struct{} // closed when the goal has a slot
}

// prepare counts a goal as preparing until it calls settle or wait.
func (t *turns) prepare() {
	t.mu.Lock()
	t.preparing++
	t.mu.Unlock()
}

// settle ends the preparation of a goal that does not wait for a slot.
func (t *turns) settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.preparing--
	t.dispatch()
}

// add returns additional slots to the call.
func (t *turns) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free += n
	t.dispatch()
}

// wait stops preparing and waits for a slot.
func (t *turns) wait(ctx context.Context, drv storepath.Path) error {
	own := &turn{drv, make(chan struct{})}
	t.mu.Lock()
	i, _ := slices.BinarySearchFunc(t.waiting, own, compareTurns)
	t.waiting = slices.Insert(t.waiting, i, own)
	t.preparing--
	t.dispatch()
	t.mu.Unlock()
	select {
	case <-own.ready:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, own); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else { // it just got a slot
		t.free++
		t.dispatch()
	}
	return context.Cause(ctx)
}

// dispatch gives free slots to the first goals that wait. Its caller holds the lock.
func (t *turns) dispatch() {
	for t.preparing == 0 && t.free > 0 && len(t.waiting) > 0 {
		t.free--
		close(t.waiting[0].ready)
		t.waiting = t.waiting[1:]
	}
}

func compareTurns(a, b *turn) int {
	return cmp.Or(strings.Compare(a.drv.Name(), b.drv.Name()), strings.Compare(string(a.drv), string(b.drv)))
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
