package main

import (
	"github.com/spf13/cobra"

	"pix/store"
)

func newOptimise(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "optimise",
		Aliases: []string{"optimize"},
		Short:   "Replace identical files in the store with hard links",
		Long: `Replace identical files in the store with hard links. If a file cannot be linked, optimise prints
its name, links the others, and exits with 1.`,
		Example: "  pix optimise",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toChange, store.Optimise)
		},
	}
}
