package activity

import "sync"

// A Sequencer is a handler that any number of goroutines may call: it passes events on to another
// one at a time, and none after it was ended. So work for one call may go on beside it.
type Sequencer struct {
	sync.Mutex // held by whoever calls Tell
	handler    Handler
	ended      bool
}

// NewSequencer returns a Sequencer that passes events on to h.
func NewSequencer(h Handler) Sequencer { return Sequencer{handler: h} }

// HandleEvent implements [Handler].
func (s *Sequencer) HandleEvent(e Event) {
	s.Lock()
	defer s.Unlock()
	s.Tell(e)
}

// Tell passes events on, for whoever has the lock.
func (s *Sequencer) Tell(events ...Event) {
	for _, e := range events {
		if !s.ended {
			s.handler.HandleEvent(e)
		}
	}
}

// End passes last events on, and none after them.
func (s *Sequencer) End(events ...Event) {
	s.Lock()
	defer s.Unlock()
	s.Tell(events...)
	s.ended = true
}
