package main

import (
	"context"
	"fmt"
	"path/filepath"

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
Inputs are looked for in the directory that the file lies in.`,
		Example:           "  pix drv-hash /nix/store/...-hello.drv",
		GroupID:           groupDerivations,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: atMost(1, a.completeDrvFiles),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, d, err := a.readNamed(args[0])
			if err != nil {
				return err
			}
			mode := derivation.ForOutputs
			if asInput {
				mode = derivation.AsInput
			}
			inputs, err := hashInputs(cmd.Context(), derivation.Directory(filepath.Dir(args[0])), d)
			if err != nil {
				return err
			}
			h, err := d.HashModulo(mode, inputs, nil)
			if err != nil {
				return fmt.Errorf("'%s': %w", args[0], err)
			}
			return a.print(h.Hash.Base16() + "\n")
		},
	}
	cmd.Flags().BoolVar(&asInput, "as-input", false, "the hash that stands for it in those that depend on it")
	return cmd
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
