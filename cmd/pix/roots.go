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
	var stdin, asJSON bool
	cmd := &cobra.Command{
		Use:   "roots [PATH...]",
		Short: "Print what keeps paths from being collected",
		Long: `Print the roots, which keep paths from being collected: a line each, the root, an arrow and the
path. With arguments, only the roots that keep one of these paths, directly or because something
that a root keeps needs it; 'pix gc --explain PATH' prints the chain from a root to a path.
Untrusted users see only some of the roots of a daemon.`,
		Example:           "  pix roots\n  pix roots /nix/store/...-glibc-2.40",
		GroupID:           groupKeeping,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			all := len(args) == 0 && !stdin
			if !all {
				var err error
				if args, err = a.withStdin(cmd, args, stdin); err != nil {
					return err
				}
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				roots, err := rootsOf(ctx, s, names, all)
				if err != nil {
					return err
				}
				return a.printRoots(roots, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a list of objects with link and path")
	addStdinFlag(cmd, &stdin)
	return cmd
}

// rootsOf returns all roots of the store, or the roots that keep one of the named objects.
func rootsOf(ctx context.Context, s store.Store, names []storeName, all bool) ([]store.Root, error) {
	if !all {
		paths, err := objectsOf(ctx, s, names)
		if err != nil {
			return nil, err
		}
		return store.RootsOf(ctx, s, paths...)
	}
	roots, err := store.Roots(ctx, s)
	slices.SortFunc(roots, func(a, b store.Root) int {
		return cmp.Or(cmp.Compare(a.Link, b.Link), cmp.Compare(a.Path, b.Path))
	})
	return roots, err
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
