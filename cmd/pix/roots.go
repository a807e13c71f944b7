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

// rootsOptions are the flags of roots.
type rootsOptions struct {
	stdin, asJSON, sizes bool
}

func newRoots(a *app) *cobra.Command {
	var o rootsOptions
	cmd := &cobra.Command{
		Use:   "roots [PATH...]",
		Short: "Print what keeps paths from being collected",
		Long: `Print the roots, which keep paths from being collected: a line each, the root, an arrow and the
path. With arguments, only the roots that keep one of these paths, directly or because something
that a root keeps needs it; 'pix gc --explain PATH' prints the chain from a root to a path. With
--sizes, a table with the size of the closure of each root, and of the part that no other root
needs, which a collection can delete after the root; the largest part comes first.
Untrusted users see only some of the roots of a daemon.`,
		Example:           "  pix roots\n  pix roots --sizes\n  pix roots /nix/store/...-glibc-2.40",
		GroupID:           groupKeeping,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			all := len(args) == 0 && !o.stdin
			if !all {
				var err error
				if args, err = a.withStdin(cmd, args, o.stdin); err != nil {
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
				if o.sizes {
					return a.printRootSizes(ctx, s, roots, o.asJSON)
				}
				return a.printRoots(roots, o.asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print a list of objects with link and path")
	cmd.Flags().BoolVar(&o.sizes, "sizes", false, "print how much each root keeps")
	addStdinFlag(cmd, &o.stdin)
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
