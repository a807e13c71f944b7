package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

func newTree(a *app) *cobra.Command {
	var depth int
	cmd := newPathVerb(a, pathVerb{
		use:     "tree PATH...",
		short:   "Print what paths refer to as a tree",
		long:    "Print what paths refer to as a tree. A path that was printed before is followed by [...] and is not\nunfolded again.",
		example: "  pix tree --depth 2 /nix/store/...-hello",
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			c, err := closure.Load(ctx, s, paths...)
			if err != nil {
				return err
			}
			err = c.WriteTree(a.stdout, &closure.TreeOptions{Depth: max(depth, 0)}, paths...)
			if errors.As(err, new(*closure.TreeDepthError)) {
				err = fmt.Errorf("%w; print the first ones with --depth", err)
			}
			return err
		},
	})
	cmd.Flags().IntVar(&depth, "depth", 0, "unfold `N` levels only; 0 is all")
	freeValue(cmd, "depth")
	return cmd
}
