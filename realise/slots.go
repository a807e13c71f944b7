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

// Slots limit how many derivations all calls of a store build at once. The client that has the fewest gets the next one, so that
// no client keeps the others waiting with many calls. Calls of one client get them in the order in which they ask.
type Slots struct {
	n int

	mu      sync.Mutex
	used    int
	clients map[string]int // how many each client uses
	waiting []*slotWaiter
}

// A slotWaiter is a build that waits for a slot.
type slotWaiter struct {
	client string
	limit  int           // it may begin while fewer builds than this run
	ready  chan struct{} // closed when it has a slot
}

// NewSlots returns n slots, at least one.
func NewSlots(n int) *Slots { return &Slots{n: max(1, n), clients: make(map[string]int)} }

// acquire waits for a slot. A call that may build more at once than there are slots, and no more than the machine has
// processors, can exceed their number by its own builds: builds of one call may wait for each other. A nil *Slots has any
// number of slots.
func (s *Slots) acquire(ctx context.Context, client string, maxJobs int) error {
	if s == nil {
		return nil
	}
	w := &slotWaiter{client, s.limit(maxJobs), make(chan struct{})}
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
		s.giveBack(client)
	}
	return context.Cause(ctx)
}

// limit returns how many builds of all calls may run when one of a call with this max-jobs begins.
func (s *Slots) limit(maxJobs int) int { return max(s.n, min(maxJobs, runtime.NumCPU())) }

// most returns how many builds a call with this max-jobs runs or lets wait for a slot. A call with a thousand builds would
// otherwise queue them all at once, before the only build of the next call.
func (s *Slots) most(maxJobs int) int {
	if s != nil {
		maxJobs = min(maxJobs, s.limit(maxJobs))
	}
	return max(0, maxJobs)
}

func (s *Slots) release(client string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack(client)
}

// giveBack takes a slot back. Its caller holds the lock.
func (s *Slots) giveBack(client string) {
	s.used--
	if s.clients[client]--; s.clients[client] == 0 {
		delete(s.clients, client)
	}
	s.dispatch()
}

// dispatch gives free slots to the builds that wait. Its caller holds the lock.
func (s *Slots) dispatch() {
	for {
		next := -1
		for i, w := range s.waiting {
			if s.used < w.limit && (next < 0 || s.clients[w.client] < s.clients[s.waiting[next].client]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := s.waiting[next]
		s.waiting = slices.Delete(s.waiting, next, next+1)
		s.used++
		s.clients[w.client]++
		close(w.ready)
	}
}

// turns are the build slots of one call. Goals that wait for one get it in the order of their derivations, by name as in Nix,
// so that the same call without parallel builds always runs the same builds first. No goal gets a slot while another one is
// still preparing, because that one may come first.
type turns struct {
	mu        sync.Mutex
	preparing int // goals that will soon wait for a slot, or for something else
	free      int
	waiting   []*turn // sorted
	reserved  map[storepath.Path]bool
	freed     chan struct{} // closed when a slot becomes free, or nil
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
	if t.takeReserved(drv) {
		t.preparing--
		t.dispatch()
		t.mu.Unlock()
		return nil
	}
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
	t.wakeReservers()
}

func compareTurns(a, b *turn) int {
	return cmp.Or(strings.Compare(a.drv.Name(), b.drv.Name()), strings.Compare(string(a.drv), string(b.drv)))
}
