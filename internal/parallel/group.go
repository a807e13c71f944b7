package parallel

import (
	"context"
	"sync"
)

// A Group runs functions on goroutines, as errgroup.Group does. If a function panics, or calls
// runtime.Goexit, Wait does the same on the goroutine of its caller.
type Group struct {
	guard   Guard
	cancel  context.CancelCauseFunc
	slots   chan struct{} // nil if any number may run at once
	running sync.WaitGroup

	once sync.Once
	err  error // the first one
}

// WithContext returns a group, and the context of its functions. It ends when one of them fails, or
// when Wait returns. At most limit functions run at once; 0 is no limit.
func WithContext(ctx context.Context, limit int) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &Group{cancel: cancel}
	g.guard.Stop = cancel
	if limit > 0 {
		g.slots = make(chan struct{}, limit)
	}
	return g, ctx
}

// Go runs f on a new goroutine. It waits while limit functions run.
func (g *Group) Go(f func() error) {
	if g.slots != nil {
		g.slots <- struct{}{}
	}
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		if g.slots != nil {
			defer func() { <-g.slots }()
		}
		if err := g.guard.Call(f); err != nil {
			g.once.Do(func() {
				g.err = err
				g.cancel(err)
			})
		}
	}()
}

// Wait waits until all functions have ended, and returns the first error. It raises a panic again.
func (g *Group) Wait() error {
	g.Join()
	g.guard.Repanic()
	return g.err
}

// Join waits until all functions have ended. A caller that may panic itself between Go and Wait
// defers Join, so that no goroutine outlives it.
func (g *Group) Join() {
	g.running.Wait()
	g.cancel(g.err)
}
