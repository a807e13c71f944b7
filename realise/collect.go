package realise

import (
	"context"
	"sync"
	"time"

	"pix/builder"
	"pix/internal/parallel"
	"pix/store"
)

// A collector is a store that collects garbage if its disk is nearly full, Nix's min-free.
type collector interface {
	CollectIfFull(ctx context.Context) error
}

// collectInterval is how often the free space is looked at during a build. Nix takes the same time.
const collectInterval = 10 * time.Second

// buildCollecting builds a derivation in s, and lets s collect garbage before and during the build. It is not for
// the builds of a repair, which may run while the store keeps collectors out: they would wait for themselves.
func buildCollecting(ctx context.Context, s store.Store, e Executor, req *builder.Request) (*store.BuildResult, error) {
	full, ok := store.As[collector](s)
	if !ok {
		return e.Build(ctx, req)
	}
	if err := full.CollectIfFull(ctx); err != nil {
		return nil, err
	}
	collecting, stop := context.WithCancel(ctx)
	var guard parallel.Guard
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	ended.Go(func() {
		_ = guard.Call(func() error { return collectUntilDone(collecting, full) }) // an error ends only the collections
	})
	return e.Build(ctx, req)
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
