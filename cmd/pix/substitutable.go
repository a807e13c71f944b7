package main

import (
	"github.com/spf13/cobra"

	"pix/store"
)

func newSubstitutable(a *app) *cobra.Command {
	return newPathVerb(a, pathVerb{
		use:     "substitutable PATH...",
		short:   "Print the paths that the substituters of the store have",
		example: "  pix substitutable /nix/store/...-hello",
		list:    store.SubstitutablePaths,
	})
}
