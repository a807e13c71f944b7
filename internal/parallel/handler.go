package parallel

import "pix/activity"

// Handler returns a handler that calls h within the guard, from any goroutine, until [Guard.End].
func (g *Guard) Handler(h activity.Handler) activity.Handler {
	return activity.HandlerFunc(func(e activity.Event) {
		g.Call(func() error { h.HandleEvent(e); return nil })
	})
}
