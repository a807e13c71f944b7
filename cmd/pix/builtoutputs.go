package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pix/derivation"
	"pix/internal/parallel"
	"pix/store"
	"pix/storepath"
)

// A builtOutput is an output of a derivation, or a path that was substituted.
type builtOutput struct {
	name string // defaultOutput for a path that was named itself
	path storepath.Path
}

const defaultOutput = "out"

// outputLines returns the store paths of the outputs that a build made valid, a line each.
func outputLines(ctx context.Context, s store.Store, built []derivation.DerivedPath) (string, error) {
	all, err := allBuiltOutputs(ctx, s, built)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, outputs := range all {
		for _, o := range outputs {
			b.WriteString(string(o.path) + "\n")
		}
	}
	return b.String(), nil
}

// linkOutputs makes symlinks to the outputs and registers them as roots, with the names that nix-store --realise
// --add-root uses. The store must be the session of the build: its temporary roots keep the outputs until then.
func linkOutputs(ctx context.Context, s store.Store, built []derivation.DerivedPath, link string) error {
	if link == "" {
		return nil
	}
	all, err := allBuiltOutputs(ctx, s, built)
	if err != nil {
		return err
	}
	for i, outputs := range all {
		for _, o := range outputs {
			name := link
			if i > 0 {
				name = fmt.Sprintf("%s-%d", name, i+1)
			}
			if o.name != defaultOutput {
				name += "-" + o.name
			}
			if _, err := store.AddRoot(ctx, s, name, o.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// outputQueries is how many installables are queried at once, so that a distant daemon answers many in one round trip.
const outputQueries = 1024

// allBuiltOutputs returns the outputs of all installables, in their order.
func allBuiltOutputs(ctx context.Context, s store.Store, built []derivation.DerivedPath) ([][]builtOutput, error) {
	all := make([][]builtOutput, len(built))
	queries, ctx := parallel.WithContext(ctx, outputQueries)
	for i, p := range built {
		queries.Go(func() (err error) {
			all[i], err = builtOutputs(ctx, s, p)
			return err
		})
	}
	return all, queries.Wait()
}

// builtOutputs returns the outputs of an installable that was built, sorted by name.
func builtOutputs(ctx context.Context, s store.Store, built derivation.DerivedPath) ([]builtOutput, error) {
	switch built := built.(type) {
	case derivation.Opaque:
		return []builtOutput{{defaultOutput, built.Path}}, nil
	case derivation.Built:
		drv, err := resolveDerivation(ctx, s, built.Drv)
		if err != nil {
			return nil, err
		}
		return derivationOutputs(ctx, s, drv, built.Outputs)
	}
	panic(fmt.Sprintf("a derived path of type %T", built))
}

// resolveDerivation returns the store path of a derivation, which may itself be the output of another derivation.
func resolveDerivation(ctx context.Context, s store.Store, drv derivation.SingleDerivedPath) (storepath.Path, error) {
	built, ok := drv.(derivation.SingleBuilt)
	if !ok {
		return drv.Base(), nil
	}
	outer, err := resolveDerivation(ctx, s, built.Drv)
	if err != nil {
		return "", err
	}
	outputs, err := derivationOutputs(ctx, s, outer, derivation.NamedOutputs(built.Output))
	if err != nil {
		return "", err
	}
	return outputs[0].path, nil
}

// derivationOutputs returns the selected outputs of a derivation, sorted by name. It is an error if the derivation
// does not have one of them, or if the store does not know its path.
func derivationOutputs(ctx context.Context, s store.Store, drv storepath.Path, selected derivation.OutputsSpec) ([]builtOutput, error) {
	paths, err := store.OutputMap(ctx, s, drv)
	if err != nil {
		return nil, err
	}
	var outputs []builtOutput
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if !selected.Contains(name) {
			continue
		}
		if paths[name] == "" {
			return nil, fmt.Errorf("the store does not know the path of output '%s' of '%s'", name, drv)
		}
		outputs = append(outputs, builtOutput{name, paths[name]})
	}
	if !selected.All() && len(outputs) < selected.Names().Len() {
		return nil, fmt.Errorf("derivation '%s' does not have all of the outputs %s", drv, selected)
	}
	return outputs, nil
}
