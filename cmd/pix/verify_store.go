package main

import (
	"context"

	"github.com/spf13/cobra"

	"pix/store"
)

// verifyStoreOptions are the flags of verify-store.
type verifyStoreOptions struct {
	contents, repair bool
	from             string
}

func newVerifyStore(a *app) *cobra.Command {
	var o verifyStoreOptions
	cmd := &cobra.Command{
		Use:   "verify-store",
		Short: "Check that the objects of the store exist and are unchanged",
		Long: `Check that the objects of the store exist and, with --check-contents, are unchanged. Problems are
printed on standard error; the exit code is 1 if some remain.

In a binary cache in a directory, the narinfos with their references and signatures are checked, and
the files of the archives. To repair it, copy the paths to it again (pix copy).

A daemon repairs by building or fetching again. A store in a directory takes objects from another
store, the one of --from.`,
		Example: "  pix verify-store --check-contents\n  pix verify-store --check-contents --from https://cache.example.org",
		GroupID: groupKeeping,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
				remain, err := a.verifyStore(ctx, s, o)
				if err == nil && remain {
					return &silentError{exitNo}
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&o.contents, "check-contents", false, "also read all objects and compare their hashes")
	cmd.Flags().BoolVar(&o.repair, "repair", false, "build or fetch damaged objects again; needs a trusted user")
	cmd.Flags().StringVar(&o.from, "from", "", "repair with objects of the store at this `URI`")
	completeFlag(cmd, "from", completeURIs)
	return cmd
}

// verifyStore verifies a store, and repairs it as the options say. It reports whether problems remain.
func (a *app) verifyStore(ctx context.Context, s store.Store, o verifyStoreOptions) (remain bool, err error) {
	if o.from == "" {
		return store.Verify(ctx, s, o.contents, o.repair)
	}
	src, err := a.openWith(ctx, openOptions{uri: o.from, access: toRead})
	if err != nil {
		return false, err
	}
	defer src.Close()
	return store.VerifyFrom(ctx, s, o.contents, src)
}
