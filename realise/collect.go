package realise

import (
	"context"
	"sync"
	"time"

	"pix/builder"
	"pix/store"
)

// A collector is a store that collects garbage if its disk is nearly full, Nix's min-free.
type collector interface {
	CollectIfFull(ctx context.Context) error
}

// collectInterval is how often the free space is looked at during a build. Nix takes the same time.
const collectInterval = 10 * time.Second

// build builds a derivation, and lets the store below collect garbage before and during the build. A repair may run while
// the store keeps collectors out, so it does not collect: it would wait for itself.
func (c *call) build(e Executor, req *builder.Request) (*store.BuildResult, error) {
	s, ok := store.As[collector](c.store.Store)
	if !ok || c.mode == store.BuildRepair {
		return e.Build(c.ctx, req)
	}
	if err := s.CollectIfFull(c.ctx); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(c.ctx)
	var collecting sync.WaitGroup
	defer collecting.Wait()
	defer stop()
	collecting.Go(func() {
		_ = c.guard.Call(func() error { return collectUntilDone(ctx, s) }) // an error ends only the collections
	})
	return e.Build(c.ctx, req)
}

// collectUntilDone lets a store collect garbage from time to time until ctx is done.
func collectUntilDone(ctx context.Context, s collector) error {
	ticker := time.NewTicker(collectInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.CollectIfFull(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
