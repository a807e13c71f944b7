package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newRoots(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "roots",
		Short:   "Print what keeps paths from being collected",
		Long:    "Print the roots, which keep paths from being collected: a line each, the root, an arrow and the\npath. Untrusted users see only some of the roots of a daemon.",
		Example: "  pix roots",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				roots, err := store.Roots(ctx, s)
				if err != nil {
					return err
				}
				slices.SortFunc(roots, func(a, b store.Root) int {
					return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Path, b.Path))
				})
				return a.printRoots(roots, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects with link and path")
	return cmd
}

// A rootJSON is a root in the output of roots --json.
type rootJSON struct {
	Link string         `json:"link"`
	Path storepath.Path `json:"path"`
}

func (a *app) printRoots(roots []store.Root, asJSON bool) error {
	objects := make([]rootJSON, len(roots))
	var b strings.Builder
	for i, r := range roots {
		objects[i] = rootJSON{r.Link, r.Path}
		fmt.Fprintf(&b, "%s -> %s\n", a.shown(r.Link), r.Path)
	}
	return a.printEither(b.String(), objects, asJSON)
}
