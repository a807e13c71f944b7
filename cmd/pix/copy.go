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
	all           bool
	derivation    bool
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
paths that it refers to. If a path cannot be copied, all paths are copied that do not refer to it.
A binary cache at https://HOST is written with PUT requests, as Nix does.

With --derivation the derivations of the paths are copied, with everything that is needed to build
them.`,
		Example: "  pix copy --to ssh-ng://builder /nix/store/...-hello\n" +
			"  pix copy --to 'https://cache.example?secret-key=key' /nix/store/...-hello\n" +
			"  pix copy --all --from file:///mnt/cache",
		GroupID:           groupStore,
		ValidArgsFunction: a.completePathsOf(&o.from),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.from == "" && o.to == "" {
				return wrongUse(cmd, errors.New("--from or --to is needed, or both"))
			}
			args, err := a.copyArguments(cmd, args, &o)
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			copied, err := a.copy(cmd.Context(), names, o)
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
	flags.BoolVar(&o.all, "all", false, "copy all paths of the store")
	flags.BoolVar(&o.derivation, "derivation", false, "copy the derivations of the paths instead, with their inputs")
	otherNames(cmd, map[string]string{"substitute-on-destination": "substitute", "drv": "derivation"})
	addStdinFlag(cmd, &o.stdin)
	addPathsJSONFlag(cmd, &o.asJSON)
	return cmd
}

// copyArguments returns the arguments that name paths to copy: none with --all.
func (a *app) copyArguments(cmd *cobra.Command, args []string, o *copyOptions) ([]string, error) {
	if !o.all {
		return a.withStdin(cmd, args, o.stdin)
	}
	if len(args) > 0 || o.stdin || o.derivation {
		return nil, wrongUse(cmd, errors.New("--all is for all paths of the store, so PATH, --stdin and --derivation exclude it"))
	}
	return nil, nil
}

// copyRoots returns the paths whose closures are copied.
func copyRoots(ctx context.Context, src store.Store, names []storeName, o *copyOptions) ([]storepath.Path, error) {
	switch {
	case o.all:
		return store.AllValidPaths(ctx, src)
	case o.derivation:
		return derivationsOf(ctx, src, names)
	}
	return objectsOf(ctx, src, names)
}

// copy copies paths and returns the copied ones. After an error it returns the paths that were copied before it.
func (a *app) copy(ctx context.Context, names []storeName, o copyOptions) (copied []storepath.Path, err error) {
	err = a.withTwoStores(ctx, o.from, o.to, func(ctx context.Context, src, dst store.Store) error {
		paths, err := copyRoots(ctx, src, names, &o)
		if err != nil {
			return err
		}
		boundGarbageOfCopy()
		infos, err := store.Copy(ctx, dst, src, paths, &store.CopyOptions{
			AddOptions: store.AddOptions{NoSignatures: o.noSignatures},
			Substitute: o.substitute,
		})
		for _, info := range infos {
			copied = append(copied, info.Path)
		}
		if err == nil && !o.derivation {
			err = copyRealisations(ctx, dst, src, names, paths)
		}
		switch {
		case err == nil:
			return nil
		case lacksSignature(err) && !o.noSignatures:
			return fmt.Errorf("%w; sign it (pix sign), or copy it with --no-check-sigs to a store that trusts you", err)
		case hasOtherAddress(err):
			return fmt.Errorf("%w\n%s", err, otherAddressAdvice)
		}
		return adviceOnFullDisk(dst, err)
	})
	return copied, err
}

// copyRealisations copies the realisations of the names that are outputs of derivations, as Nix does. paths are the paths of
// all names.
func copyRealisations(ctx context.Context, dst, src store.Store, names []storeName, paths []storepath.Path) error {
	if _, ok := store.As[store.RealisationStore](dst); !ok {
		return nil
	}
	copied := make(map[storepath.Path]bool)
	for _, path := range paths {
		copied[path] = true
	}
	for i := range names {
		if names[i].built == nil {
			continue
		}
		drv, err := names[i].derivation(ctx, src)
		if err != nil {
			return err
		}
		all, err := store.OutputRealisations(ctx, src, drv)
		if err != nil {
			return err
		}
		for _, r := range all {
			if !copied[r.OutPath] {
				continue
			}
			if err := store.RegisterRealisation(ctx, dst, r); err != nil {
				return err
			}
		}
	}
	return nil
}
