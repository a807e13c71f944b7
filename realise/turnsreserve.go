package realise

import "pix/storepath"

// reserve takes a slot for a derivation if one is free, which its goal then gets from wait. freed is closed when a slot
// becomes free.
func (t *turns) reserve(drv storepath.Path) (reserved bool, freed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.freed == nil {
		t.freed = make(chan struct{})
	}
	if t.free == 0 || len(t.waiting) > 0 || t.reserved[drv] {
		return false, t.freed
	}
	t.free--
	if t.reserved == nil {
		t.reserved = make(map[storepath.Path]bool)
	}
	t.reserved[drv] = true
	return true, t.freed
}

// cancel gives a reserved slot back that the goal did not need.
func (t *turns) cancel(drv storepath.Path) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reserved[drv] {
		delete(t.reserved, drv)
		t.free++
		t.dispatch()
	}
}

// takeReserved takes the slot that was reserved for a derivation, and reports whether there was one. The lock is held.
func (t *turns) takeReserved(drv storepath.Path) bool {
	if !t.reserved[drv] {
		return false
	}
	delete(t.reserved, drv)
	return true
}

// wakeReservers wakes the goals that wait for a free slot to reserve. The lock is held.
func (t *turns) wakeReservers() {
	if t.freed != nil && t.free > 0 {
		close(t.freed)
		t.freed = nil
	}
}
