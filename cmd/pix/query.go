package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"pix/store"
	"pix/storepath"
)

// maxQueries is the number of queries that are sent before the first answer arrives.
const maxQueries = 1024

// forEach calls query with the index of each element, many at once, until one returns an error.
func forEach[T any](ctx context.Context, elements []T, query func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxQueries)
	for i := range elements {
		g.Go(func() error { return query(ctx, i) })
	}
	return g.Wait()
}

// queryEach calls query with each path, many at once, and returns the results of all calls, sorted, each once.
func queryEach(ctx context.Context, s store.Store, paths []storepath.Path, query func(context.Context, store.Store, storepath.Path) ([]storepath.Path, error)) ([]storepath.Path, error) {
	found := make([][]storepath.Path, len(paths))
	err := forEach(ctx, paths, func(ctx context.Context, i int) (err error) {
		found[i], err = query(ctx, s, paths[i])
		return err
	})
	return union(found), err
}
