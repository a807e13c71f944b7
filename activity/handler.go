package activity

import "context"

// A Handler is told what happens during a call. Its method is called by one goroutine
// at a time for each call, and never after the call has returned. The next event
// waits while it runs, so a slow handler slows the daemon down.
type Handler interface {
	HandleEvent(Event)
}

// A HandlerFunc is a function that is a [Handler].
type HandlerFunc func(Event)

// HandleEvent calls f.
func (f HandlerFunc) HandleEvent(e Event) { f(e) }

type handlerKey struct{}

// WithHandler returns a context whose calls tell h what happens. A handler that ctx
// has already is replaced.
func WithHandler(ctx context.Context, h Handler) context.Context {
	return context.WithValue(ctx, handlerKey{}, h)
}

// HandlerOf returns the handler of ctx, or nil.
func HandlerOf(ctx context.Context) Handler {
	h, _ := ctx.Value(handlerKey{}).(Handler)
	return h
}
