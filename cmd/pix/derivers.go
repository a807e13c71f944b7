package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newDerivers(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "derivers PATH...",
		short:   "Print the valid derivations that have paths as outputs",
		example: "  pix derivers /nix/store/...-hello",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			return queryEach(ctx, s, paths, store.ValidDerivers)
		},
	})
}
