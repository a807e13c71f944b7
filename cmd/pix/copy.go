package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

// copyOptions are the flags of copy.
type copyOptions struct {
	from, to      string
	substitute    bool
	noSignatures  bool
	stdin, asJSON bool
}

func newCopy(a *app) *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "copy PATH...",
		Short: "Copy paths and their closures between stores",
		Long: `Copy the closure of paths from one store to another. Paths that the destination already has are
skipped. Signatures are copied with the paths. --from and --to are store URIs; if one is left out,
it is the store that the other verbs would use. Prints the paths that were copied, each after the
paths that it refers to. If a path cannot be copied, all paths are copied that do not refer to it.`,
		Example:           "  pix copy --to ssh-ng://builder /nix/store/...-hello",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePathsOf(&o.from),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.from == "" && o.to == "" {
				return wrongUse(cmd, errors.New("--from or --to is needed, or both"))
			}
			args, err := a.withStdin(cmd, args, o.stdin)
			if err != nil {
				return err
			}
			paths, err := a.paths(args)
			if err != nil {
				return err
			}
			copied, err := a.copy(cmd.Context(), paths, o)
			if err != nil && len(copied) == 0 {
				return err
			}
			if printErr := a.printPaths(copied, o.asJSON); err == nil {
				err = printErr
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.from, "from", "", "the `URI` of the store to copy from")
	flags.StringVar(&o.to, "to", "", "the `URI` of the store to copy to")
	completeFlag(cmd, "from", completeURIs)
	completeFlag(cmd, "to", completeURIs)
	flags.BoolVar(&o.substitute, "substitute", false, "let the destination try its substituters first")
	flags.BoolVar(&o.noSignatures, "no-check-sigs", false, "copy unsigned paths too; the destination must trust you")
	addStdinFlag(cmd, &o.stdin)
	addPathsJSONFlag(cmd, &o.asJSON)
	return cmd
}

// copy copies paths and returns the copied ones. After an error it returns the paths that were copied before it.
func (a *app) copy(ctx context.Context, paths []storepath.Path, o copyOptions) ([]storepath.Path, error) {
	ctx = a.follow(ctx)
	src, err := a.openWith(ctx, openOptions{uri: o.from, access: toRead})
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dst, err := a.openWith(ctx, openOptions{uri: o.to, access: toCreate})
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	copied, err := store.Copy(ctx, dst, src, paths, &store.CopyOptions{
		AddOptions: store.AddOptions{NoSignatures: o.noSignatures},
		Substitute: o.substitute,
	})
	switch {
	case err == nil:
	case lacksSignature(err) && !o.noSignatures:
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
