package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newReferrers(a *app) *cobra.Command {
	var closure bool
	cmd := newPathVerb(a, pathVerb{
		use:     "referrers PATH...",
		short:   "Print the valid paths that refer to paths",
		example: "  pix referrers --closure /nix/store/...-glibc-2.40",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			if closure {
				return referrersClosure(ctx, s, paths)
			}
			return queryEach(ctx, s, paths, store.Referrers)
		},
	})
	cmd.Flags().BoolVar(&closure, "closure", false, "print the paths and everything that refers to them, directly or indirectly")
	return cmd
}

// referrersAtOnce is the number of queries for referrers at once. A path may have very many referrers.
const referrersAtOnce = 32

// referrersClosure returns the paths and everything that refers to them, directly or indirectly, sorted. The limits for
// closures apply, because a store may report referrers without end.
func referrersClosure(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
	var all []storepath.Path
	w := store.NewWalk(s.Dir(), "this store", store.LimitsOf(s), 0)
	for todo := w.Start(paths...); len(todo) > 0; todo = w.Next() {
		all = append(all, todo...)
		_, err := w.Ask(ctx, todo, referrersAtOnce, func(ctx context.Context, i int) (*store.PathInfo, string, error) {
			referrers, err := store.Referrers(ctx, s, todo[i])
			return &store.PathInfo{Path: todo[i], References: referrers}, "", err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}
