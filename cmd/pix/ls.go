package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"pix/nar"
	"pix/store"
	"pix/storepath"
)

func newLs(a *app) *cobra.Command {
	var o lsOptions
	var stdin bool
	cmd := &cobra.Command{
		Use:   "ls PATH...",
		Short: "List store paths, or directories and files in them",
		Long: `List store paths, or directories and files in them. With several PATHs each list comes after its
PATH and a colon.

Some binary caches have a listing beside each archive, which is printed without fetching the
archive. No signature covers it. The files in a store in a directory are listed without reading
them. To verify the contents too, pipe 'pix dump PATH' into 'pix nar-ls -'.`,
		Example:           "  pix ls --long /nix/store/...-hello/bin",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			if o.json && len(args) > 1 {
				return wrongUse(cmd, errors.New("--json is for one PATH"))
			}
			return a.withInside(cmd.Context(), args, func(ctx context.Context, s store.Store, i int, object storepath.Path, inside string) error {
				if len(args) > 1 {
					if err := a.print(strings.Repeat("\n", min(i, 1)) + args[i] + ":\n"); err != nil {
						return err
					}
				}
				return a.listObject(ctx, s, object, orRoot(inside), o)
			})
		},
	}
	addLsFlags(cmd, &o)
	addStdinFlag(cmd, &stdin)
	return cmd
}

// listObject lists the node at a path in an object, from the listing of the store if it has one, else from the
// archive.
func (a *app) listObject(ctx context.Context, s store.Store, object storepath.Path, inside string, o lsOptions) error {
	if l := storeListing(ctx, s, object); l != nil {
		return a.printListing(l, object, inside, o)
	}
	return withArchive(ctx, s, object, func(archive io.Reader) error {
		return a.listIn(objectArchive(archive, object), inside, o)
	})
}

// storeListing returns the listing that the store has of an object, or nil. It ignores errors: reading the archive
// succeeds or has an error that says more.
func storeListing(ctx context.Context, s store.Store, object storepath.Path) *nar.Listing {
	r, ok := store.As[store.ListingReader](s)
	if !ok {
		return nil
	}
	l, err := r.Listing(ctx, object)
	if err != nil {
		return nil
	}
	return l
}

// printListing lists the node at a path in a listing.
func (a *app) printListing(l *nar.Listing, object storepath.Path, inside string, o lsOptions) error {
	finder := nar.NewFinder(inside)
	node := l.Lookup(finder.Path())
	if node == nil {
		return fmt.Errorf("%s: %w", objectName(object), notAFile(inside, nar.Entry{}))
	}
	list := a.newLister(finder, o)
	if err := listNode(list, node, "", finder.Depth(), o.depth()); err != nil {
		return err
	}
	return list.end()
}
