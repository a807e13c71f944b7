package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// A pathVerb is a verb that asks a store about paths: those given as arguments, and with
// --stdin those on standard input, one per line.
type pathVerb struct {
	use, short, long, example string

	// check, if there is one, says what is wrong with the flags.
	check func() error

	complete completer // nil completes store paths

	// access, if there is one, returns what the verb does with the store. Without it the verb reads.
	access func() storeAccess

	// run asks, and prints. The paths are parsed, and there is at least one.
	run func(ctx context.Context, s store.Store, paths []storepath.Path) error

	// list, in the place of run, asks and returns paths, which are printed as asked for.
	list func(ctx context.Context, s store.Store, paths []storepath.Path) ([]storepath.Path, error)
}

// newPathVerb makes a verb of v.
func newPathVerb(a *app, v pathVerb) *cobra.Command {
	var stdin, asJSON bool
	cmd := &cobra.Command{
		Use:     v.use,
		Short:   v.short,
		Long:    v.long,
		Example: v.example,
		GroupID: groupStore,
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.check != nil {
				if err := v.check(); err != nil {
					return wrongUse(cmd, err)
				}
			}
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			access := toRead
			if v.access != nil {
				access = v.access()
			}
			return a.withStore(cmd.Context(), access, func(ctx context.Context, s store.Store) error {
				if v.list == nil {
					return v.run(ctx, s, paths)
				}
				found, err := v.list(ctx, s, paths)
				if err != nil {
					return err
				}
				return a.printPaths(found, asJSON)
			})
		},
		ValidArgsFunction: v.complete,
	}
	if v.complete == nil {
		cmd.ValidArgsFunction = a.completePaths
	}
	addStdinFlag(cmd, &stdin)
	if v.list != nil {
		addPathsJSONFlag(cmd, &asJSON)
	}
	return cmd
}

func addStdinFlag(cmd *cobra.Command, stdin *bool) {
	cmd.Flags().BoolVar(stdin, "stdin", false, "take more from standard input, one per line")
}

// withStore calls work with the opened store and closes it afterwards. The context shows what the store does on
// standard error.
func (a *app) withStore(ctx context.Context, access storeAccess, work func(context.Context, store.Store) error) error {
	return a.withStoreOpened(ctx, openOptions{access: access}, work)
}

// withStoreOpened is withStore with more options.
func (a *app) withStoreOpened(ctx context.Context, o openOptions, work func(context.Context, store.Store) error) error {
	ctx = a.follow(ctx)
	s, err := a.openWith(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return adviceOnFullDisk(s, work(ctx, s))
}

// adviceOnFullDisk adds to an error of a store in a directory what to do if its disk is full.
func adviceOnFullDisk(s store.Store, err error) error {
	if _, local := store.As[*localstore.Store](s); local && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return fmt.Errorf("%w; 'pix gc' deletes the paths that no root needs, also on a full disk", err)
	}
	return err
}
