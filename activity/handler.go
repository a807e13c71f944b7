package activity

import (
	"context"
	"sync"
)

// A Handler receives the events of a call. The call calls HandleEvent from one goroutine at
// a time, and never after the call has returned. It reads the next event when HandleEvent
// returns, so a slow handler slows down the daemon.
type Handler interface {
	HandleEvent(Event)
}

// A HandlerFunc is a function that implements [Handler].
type HandlerFunc func(Event)

// HandleEvent calls f.
func (f HandlerFunc) HandleEvent(e Event) { f(e) }

type handlerKey struct{}

// WithHandler returns a context whose calls report their events to h. It replaces the
// handler of ctx.
func WithHandler(ctx context.Context, h Handler) context.Context {
	return context.WithValue(ctx, handlerKey{}, h)
}

// HandlerOf returns the handler of ctx, or nil.
func HandlerOf(ctx context.Context) Handler {
	h, _ := ctx.Value(handlerKey{}).(Handler)
	return h
}

// A Sequencer is a [Handler] that any number of goroutines may call. It passes one event at a
// time on to another handler, and none after [Sequencer.End]. So goroutines that outlive a
// call cannot report events after it has returned.
type Sequencer struct {
	sync.Mutex // must be held when calling Emit
	handler    Handler
	ended      bool
}

// NewSequencer returns a Sequencer that passes events on to h.
func NewSequencer(h Handler) Sequencer { return Sequencer{handler: h} }

// HandleEvent implements [Handler].
func (s *Sequencer) HandleEvent(e Event) {
	s.Lock()
	defer s.Unlock()
	s.Emit(e)
}

// Emit passes events on. The caller must hold the lock.
func (s *Sequencer) Emit(events ...Event) {
	for _, e := range events {
		if !s.ended {
			s.handler.HandleEvent(e)
		}
	}
}

// End passes the last events on. The Sequencer drops all later events.
func (s *Sequencer) End(events ...Event) {
	s.Lock()
	defer s.Unlock()
	s.Emit(events...)
	s.ended = true
}
