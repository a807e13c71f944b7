package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pix/derivation"
)

func newDrvHash(a *app) *cobra.Command {
	var asInput bool
	cmd := &cobra.Command{
		Use:   "drv-hash DRV",
		Short: "Print the modulo hash of a .drv file, in hex",
		Long: `Print the modulo hash of a .drv file, in hex: the hash from which its own output paths are computed,
or with --as-input the hash that replaces its path in derivations that depend on it. Inputs are
looked for in the directory of the file, or in the store if DRV is a store path that is not a file
on this machine.`,
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
	cmd.Flags().BoolVar(&asInput, "as-input", false, "print the hash that replaces its path in derivations that depend on it")
	return cmd
}

// moduloHash returns the modulo hash of the derivation in a file, or in the store.
func moduloHash(ctx context.Context, src *drvSource, file string, mode derivation.HashMode) (h derivation.ModuloHash, err error) {
	d, err := src.readNamed(ctx, file)
	if err != nil {
		return h, err
	}
	inputs, err := derivation.LoadInputHashes(ctx, d.inputs, d.Derivation)
	if err != nil {
		return h, err
	}
	if h, err = d.HashModulo(mode, inputs, nil); err != nil {
		return h, fmt.Errorf("'%s': %w", file, err)
	}
	return h, nil
}
