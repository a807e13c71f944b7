package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newCopy(a *app) *cobra.Command {
	var from, to string
	var substitute, noSignatures bool
	var stdin, asJSON bool
	cmd := &cobra.Command{
		Use:   "copy PATH...",
		Short: "Copy paths and all that they refer to between stores",
		Long: `Copy paths and all that they refer to from one store to another, but for what is there already.
Signatures go with them. --from and --to are store URIs; if one is left out, that is the store
of the other verbs. Prints the paths that were copied, each after those that it refers to. If a path
cannot be copied, the others are, except those that refer to it.`,
		Example: "  pix copy --to ssh-ng://builder /nix/store/...-hello",
		GroupID: groupStore,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			return a.named(from).completePaths(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" && to == "" {
				return wrongUse(cmd, errors.New("--from or --to is needed, or both"))
			}
			args, err := a.withStdin(cmd, args, stdin)
			if err != nil {
				return err
			}
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			opts := &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: noSignatures}, Substitute: substitute}
			copied, err := a.copy(cmd.Context(), from, to, paths, opts)
			if err != nil && len(copied) == 0 {
				return err
			}
			if printErr := a.printPaths(copied, asJSON); err == nil {
				err = printErr
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "the `URI` of the store to copy from")
	flags.StringVar(&to, "to", "", "the `URI` of the store to copy to")
	completeFlag(cmd, "from", completeURIs)
	completeFlag(cmd, "to", completeURIs)
	flags.BoolVar(&substitute, "substitute", false, "let the destination try its substituters first")
	flags.BoolVar(&noSignatures, "no-check-sigs", false, "take what nobody signed; the destination must trust us")
	addStdinFlag(cmd, &stdin)
	addPathsJSONFlag(cmd, &asJSON)
	return cmd
}

// copy copies paths, and returns those that were copied, also after an error.
func (a *app) copy(ctx context.Context, from, to string, paths []storepath.Path, opts *store.CopyOptions) ([]storepath.Path, error) {
	ctx = a.follow(ctx)
	if err := a.startTrace(); err != nil { // one for both
		return nil, err
	}
	src, err := a.named(from).open(ctx, toRead)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dst, err := a.named(to).open(ctx, toCreate)
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	copied, err := store.Copy(ctx, dst, src, paths, opts)
	switch {
	case err == nil:
	case lacksSignature(err) && !opts.NoSignatures:
		err = fmt.Errorf("%w; sign it (pix sign), or have it taken as it is with --no-check-sigs by a store that trusts you", err)
	case hasOtherAddress(err):
		err = fmt.Errorf("%w\n%s", err, otherAddressAdvice)
	default:
		err = adviceOnFullDisk(dst, err)
	}
	added := make([]storepath.Path, len(copied))
	for i, info := range copied {
		added[i] = info.Path
	}
	return added, err
}

// named returns an app like a whose store is the one that a URI names, if it names one.
func (a *app) named(uri string) *app {
	other := *a
	other.storeURI = cmp.Or(uri, a.storeURI)
	return &other
}
