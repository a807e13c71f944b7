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

// signOptions are the flags of sign.
type signOptions struct {
	keyFile string
	closure bool
}

func newSign(a *app) *cobra.Command {
	var o signOptions
	cmd := newPathVerb(a, pathVerb{
		access: func() storeAccess { return toChange },
		use:    "sign --key-file FILE PATH...",
		short:  "Sign paths in the store",
		long: `Sign paths in the store with the secret key in a file, as 'nix store sign' does. Existing signatures
stay. Prints on standard error how many signatures were added.`,
		example: "  pix sign --key-file secret-key --closure /nix/store/...-hello",
		check: func() error {
			if o.keyFile == "" {
				return errors.New("no --key-file is given")
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			key, err := a.readSecretKey(ctx, o.keyFile)
			if err != nil {
				return err
			}
			infos, err := validInfos(ctx, s, paths, o.closure)
			if err != nil {
				return err
			}
			n, err := signPaths(ctx, s, infos, key)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "added %s\n", counted(int(n), "signature"))
			return nil
		},
	})
	cmd.GroupID = groupKeys
	cmd.Flags().StringVarP(&o.keyFile, "key-file", "k", "", "the `file` with the secret key")
	cmd.Flags().BoolVarP(&o.closure, "closure", "r", false, "sign the closure of the paths")
	return cmd
}

// signPaths adds the signatures that the paths do not have yet, and returns how many it added.
func signPaths(ctx context.Context, s store.Store, infos []*store.PathInfo, key signature.SecretKey) (int64, error) {
	const maxCalls = 8 // each needs a connection of its own
	var added atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxCalls)
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
