package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/store"
)

func newValidPaths(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "valid-paths",
		Short:   "Print all valid paths of the store",
		Example: "  pix valid-paths | wc -l",
		GroupID: groupStore,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				return a.printEachPath(store.ListValidPaths(ctx, s), asJSON)
			})
		},
	}
	addPathsJSONFlag(cmd, &asJSON)
	return cmd
}
