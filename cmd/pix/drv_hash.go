package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/storepath"
)

func newDrvHash(a *app) *cobra.Command {
	var asInput bool
	cmd := &cobra.Command{
		Use:   "drv-hash DRV",
		Short: "Print the modulo hash of a .drv file, in hex",
		Long: `Print the modulo hash of a .drv file, in hex: the one from which its own output paths are
computed, or with --as-input the one that stands for it in the derivations that depend on it.
Inputs are looked for in the directory that the file lies in, or in the store if DRV is a store path
that is no file here.`,
		Example:           "  pix drv-hash /nix/store/...-hello.drv",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeDrvFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode := derivation.ForOutputs
			if asInput {
				mode = derivation.AsInput
			}
			return a.withDerivations(func(src *drvSource) error {
				h, err := moduloHash(cmd.Context(), src, args[0], mode)
				if err != nil {
					return err
				}
				return a.print(h.Hash.Base16() + "\n")
			})
		},
	}
	cmd.Flags().BoolVar(&asInput, "as-input", false, "the hash that stands for it in those that depend on it")
	return cmd
}

// moduloHash returns the modulo hash of the derivation in a file.
func moduloHash(ctx context.Context, src *drvSource, file string, mode derivation.HashMode) (h derivation.ModuloHash, err error) {
	d, err := src.readNamed(ctx, file)
	if err != nil {
		return h, err
	}
	inputs, err := hashInputs(ctx, d.inputs, d.Derivation)
	if err != nil {
		return h, err
	}
	if h, err = d.HashModulo(mode, inputs, nil); err != nil {
		return h, fmt.Errorf("'%s': %w", file, err)
	}
	return h, nil
}

// hashInputs loads what the hash of d depends on, and returns the hashes of its inputs.
// That of a fixed output depends on none.
func hashInputs(ctx context.Context, l derivation.Loader, d *derivation.Derivation) (derivation.InputHashes, error) {
	if kind, err := d.Kind(); err != nil || kind == derivation.Fixed {
		return nil, err
	}
	var roots []storepath.Path
	for path := range d.InputDerivations.Keys() {
		roots = append(roots, path)
	}
	closure, err := derivation.LoadClosure(ctx, l, roots, &derivation.ClosureOptions{ForHashes: true})
	if err != nil {
		return nil, err
	}
	return closure.InputHashes(ctx)
}
