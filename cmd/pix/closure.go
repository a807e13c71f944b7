package main

import (
	"context"
	"slices"

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
			var all []storepath.Path // without the infos, which take more memory
			for info, err := range store.Closure(ctx, s, paths...) {
				if err != nil {
					return nil, err
				}
				all = append(all, info.Path)
			}
			slices.Sort(all)
			return all, nil
		},
	})
}
