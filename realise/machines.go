package realise

import (
	"context"
	"errors"
	"sync"
	"time"

	"pix/nixconf"
	"pix/store"
)

// machines are the machines of all calls of a store. The zero value has none.
//
// A machine has one store, which all builds share. It is opened for the first build, and closed when the machine has been
// idle for a while, which ends the temporary roots of the inputs there.
type machines struct {
	mu     sync.Mutex
	known  map[string]*machine // by URI
	freed  chan struct{}       // closed when a machine becomes free
	closed bool
}

// A machine is a machine on which derivations are built. The lock of machines guards its fields, except those under the
// semaphore.
type machine struct {
	uri   string
	name  string // for messages
	load  uint   // how many builds run there
	rests time.Time
	idle  *time.Timer // closes the store

	sem   chan struct{} // of capacity 1: guards store
	store store.Store   // nil if it is not open
}

const (
	// machineRest is how long a machine gets no builds after a connection to it has failed.
	machineRest = time.Minute
	// machineIdle is how long the store of a machine without builds stays open.
	machineIdle = 30 * time.Second
	// maxKnownMachines limits the machines that trusted clients can name.
	maxKnownMachines = 4096
)

// A machineSlot is the right to build a derivation on a machine.
type machineSlot struct {
	*machine
	spec *nixconf.Machine
}

// take returns a slot of the best machine that builds for the system and the features, or nil. supported reports whether there
// is such a machine that may become free; changed is closed when one does.
func (p *machines) take(specs []nixconf.Machine, system string, features []string) (slot *machineSlot, supported bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *machineSlot
	for i := range specs {
		spec := &specs[i]
		if spec.MaxJobs == 0 || !spec.Builds(system, features) {
			continue
		}
		m := p.machine(spec)
		if m == nil || time.Now().Before(m.rests) {
			continue
		}
		supported = true
		if m.load < spec.MaxJobs && (best == nil || isBetter(m.load, spec.Speed, best.load, best.spec.Speed)) {
			best = &machineSlot{m, spec}
		}
	}
	if p.freed == nil {
		p.freed = make(chan struct{})
	}
	if best != nil {
		best.load++
		if best.idle != nil {
			best.idle.Stop()
		}
	}
	return best, supported, p.freed
}

// isBetter reports whether the first of two machines gets the next build, by the rules of Nix.
func isBetter(load uint, speed float64, otherLoad uint, otherSpeed float64) bool {
	switch a, b := float64(load)/speed, float64(otherLoad)/otherSpeed; {
	case a != b:
		return a < b
	case speed != otherSpeed:
		return speed > otherSpeed
	}
	return load < otherLoad
}

// machine returns the machine with the URI of a row, or nil if there are too many. The lock is held.
func (p *machines) machine(spec *nixconf.Machine) *machine {
	uri := spec.URI()
	m := p.known[uri]
	if m == nil && len(p.known) < maxKnownMachines {
		if p.known == nil {
			p.known = make(map[string]*machine)
		}
		name, err := nixconf.CanonicalStore(spec.Store)
		if err != nil {
			name = spec.Store
		}
		m = &machine{uri: uri, name: name, sem: make(chan struct{}, 1)}
		p.known[uri] = m
	}
	return m
}

// release ends the use of a slot. After a failed connection the machine gets no builds for machineRest.
func (p *machines) release(s *machineSlot, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.load--
	if failed {
		s.rests = time.Now().Add(machineRest)
	}
	if s.load == 0 && !p.closed {
		s.idle = time.AfterFunc(machineIdle, func() { p.closeIdle(s.machine) })
	}
	close(p.freed)
	p.freed = make(chan struct{})
}

// closeIdle closes the store of a machine without builds.
func (p *machines) closeIdle(m *machine) {
	m.sem <- struct{}{} // a build that begins now opens the store again
	defer func() { <-m.sem }()
	p.mu.Lock()
	busy := m.load > 0
	p.mu.Unlock()
	if !busy && m.store != nil {
		_ = m.store.Close()
		m.store = nil
	}
}

// connect returns the store of a machine, and opens it if necessary.
func (s *machineSlot) connect(ctx context.Context, open func(context.Context, *nixconf.Machine) (store.Store, error)) (store.Store, error) {
	select {
	case s.sem <- struct{}{}:
		defer func() { <-s.sem }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.store != nil {
		return s.store, nil
	}
	opened, err := open(ctx, s.spec)
	if err != nil {
		return nil, err
	}
	s.store = opened
	return opened, nil
}

// close closes the stores of all machines. No build runs.
func (p *machines) close() (err error) {
	p.mu.Lock()
	p.closed = true
	known := p.known
	p.known = nil
	for _, m := range known {
		if m.idle != nil {
			m.idle.Stop()
		}
	}
	p.mu.Unlock()
	for _, m := range known {
		m.sem <- struct{}{}
		if m.store != nil {
			err = errors.Join(err, m.store.Close())
			m.store = nil
		}
		<-m.sem
	}
	return err
}
