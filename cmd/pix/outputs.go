package main

import (
	"context"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

func newOutputs(a *app) *cobra.Command {
	var asJSON bool
	cmd := newPathVerb(a, pathVerb{
		use:      "outputs DRV...",
		short:    "Print the output paths of derivations",
		long:     "Print the output paths of derivations, a line each. Paths that are not known before the build\nare left out; with --json they are null.",
		example:  "  pix outputs /nix/store/...-hello.drv",
		complete: a.completeDerivations, ofDerivations: true,
		run: func(ctx context.Context, s store.Store, drvs []storepath.Path) error {
			outputs, err := queryOutputs(ctx, s, drvs)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(outputsJSON(drvs, outputs))
			}
			return a.printPaths(knownOutputs(outputs), false)
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object of outputs by name, keyed by derivation")
	return cmd
}

// queryOutputs returns the outputs of each derivation by name.
func queryOutputs(ctx context.Context, s store.Store, drvs []storepath.Path) ([]map[string]storepath.Path, error) {
	outputs := make([]map[string]storepath.Path, len(drvs))
	err := forEach(ctx, drvs, func(ctx context.Context, i int) (err error) {
		outputs[i], err = store.OutputMap(ctx, s, drvs[i])
		return err
	})
	return outputs, err
}

// outputsJSON returns the outputs by derivation and name. An unknown path is nil.
func outputsJSON(drvs []storepath.Path, outputs []map[string]storepath.Path) map[storepath.Path]map[string]*string {
	object := make(map[storepath.Path]map[string]*string, len(drvs))
	for i, drv := range drvs {
		object[drv] = make(map[string]*string, len(outputs[i]))
		for name, path := range outputs[i] {
			object[drv][name] = orNull(string(path))
		}
	}
	return object
}

// knownOutputs returns the known paths in the order of the derivations, sorted by output name.
func knownOutputs(outputs []map[string]storepath.Path) (paths []storepath.Path) {
	for _, m := range outputs {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if m[name] != "" {
				paths = append(paths, m[name])
			}
		}
	}
	return paths
}
