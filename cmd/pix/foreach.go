package main

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// atOnce is how many questions are asked before the first is answered.
const atOnce = 1024

// forEach calls ask for the index of each element, many at once, until one fails.
func forEach[T any](ctx context.Context, elements []T, ask func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range elements {
		g.Go(func() error { return ask(ctx, i) })
	}
	return g.Wait()
}
