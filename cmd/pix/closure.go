package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newClosure(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "closure PATH...",
		short:   "Print the closure of paths",
		long:    "Print the closure of paths: the paths and everything that they refer to, directly or indirectly.",
		example: "  pix closure /nix/store/...-hello",
		list: func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error) {
			return store.ClosurePaths(ctx, s, paths...)
		},
	})
}
