package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"pix/signature"
	"pix/store"
	"pix/storepath"
)

func newSign(a *app) *cobra.Command {
	var keyFile string
	var closure bool
	cmd := newPathVerb(a, pathVerb{
		access: func() storeAccess { return toChange },
		use:    "sign --key-file FILE PATH...",
		short:  "Sign paths in the store",
		long: `Sign paths in the store with the secret key in a file, as 'nix store sign' does. Signatures that are
there already stay. Says on standard error how many were added.`,
		example: "  pix sign --key-file secret-key --closure /nix/store/...-hello",
		check: func() error {
			if keyFile == "" {
				return errors.New("no --key-file is given")
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			key, err := a.readSecretKey(ctx, keyFile)
			if err != nil {
				return err
			}
			infos, err := pathInfos(ctx, s, paths, closure)
			if err != nil {
				return err
			}
			n, err := signPaths(ctx, s, infos, key)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "added %d signatures\n", n)
			return nil
		},
	})
	cmd.GroupID = groupKeys
	cmd.Flags().StringVarP(&keyFile, "key-file", "k", "", "the `file` with the secret key")
	cmd.Flags().BoolVarP(&closure, "closure", "r", false, "also all that the paths refer to, and so on")
	return cmd
}

// signPaths gives the paths signatures that they have not, and returns how many.
func signPaths(ctx context.Context, s store.Store, infos []*store.PathInfo, key signature.SecretKey) (int64, error) {
	const atOnce = 8 // each needs a connection for itself
	var added atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, info := range infos {
		fingerprint, err := info.Fingerprint()
		if err != nil {
			return 0, fmt.Errorf("'%s': %w", info.Path, err)
		}
		sig := key.Sign(fingerprint).String()
		if slices.Contains(info.Signatures, sig) {
			continue
		}
		group.Go(func() error {
			added.Add(1)
			return store.AddSignatures(ctx, s, info.Path, []string{sig})
		})
	}
	err := group.Wait()
	return added.Load(), err
}
