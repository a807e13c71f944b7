package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// An output is a path that was built, or substituted.
type output struct {
	name string // "out" if it was asked for by its path
	path storepath.Path
}

const defaultOutput = "out"

// outPaths returns the store paths of what was built, a line each.
func outPaths(ctx context.Context, s store.Store, built []derivation.DerivedPath) (string, error) {
	var b strings.Builder
	for _, p := range built {
		outputs, err := builtOutputs(ctx, s, p)
		if err != nil {
			return "", err
		}
		for _, o := range outputs {
			b.WriteString(string(o.path) + "\n")
		}
	}
	return b.String(), nil
}

// linkOutputs makes roots of what was built, named as nix-store --realise --add-root names them.
// The store must be the session in which it was built.
func linkOutputs(ctx context.Context, s store.Store, built []derivation.DerivedPath, link string) error {
	if link == "" {
		return nil
	}
	for i, p := range built {
		outputs, err := builtOutputs(ctx, s, p)
		if err != nil {
			return err
		}
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

// builtOutputs returns the outputs that were built, by name.
func builtOutputs(ctx context.Context, s store.Store, built derivation.DerivedPath) ([]output, error) {
	switch built := built.(type) {
	case derivation.Opaque:
		return []output{{defaultOutput, built.Path}}, nil
	case derivation.Built:
		drv, err := resolve(ctx, s, built.Drv)
		if err != nil {
			return nil, err
		}
		return outputsOf(ctx, s, drv, built.Outputs)
	}
	panic(fmt.Sprintf("a derived path of type %T", built))
}

// resolve returns the store path of a derivation, which may be the output of another.
func resolve(ctx context.Context, s store.Store, drv derivation.SingleDerivedPath) (storepath.Path, error) {
	built, ok := drv.(derivation.SingleBuilt)
	if !ok {
		return drv.Base(), nil
	}
	above, err := resolve(ctx, s, built.Drv)
	if err != nil {
		return "", err
	}
	outputs, err := outputsOf(ctx, s, above, derivation.NamedOutputs(built.Output))
	if err != nil {
		return "", err
	}
	return outputs[0].path, nil
}

// outputsOf returns outputs of a derivation, by name.
func outputsOf(ctx context.Context, s store.Store, drv storepath.Path, which derivation.OutputsSpec) ([]output, error) {
	paths, err := store.OutputMap(ctx, s, drv)
	if err != nil {
		return nil, err
	}
	var outputs []output
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if !which.Contains(name) {
			continue
		}
		if paths[name] == "" {
			return nil, fmt.Errorf("the store does not know the path of output '%s' of '%s'", name, drv)
		}
		outputs = append(outputs, output{name, paths[name]})
	}
	if !which.All() && len(outputs) < which.Names().Len() {
		return nil, fmt.Errorf("derivation '%s' does not have all of the outputs %s", drv, which)
	}
	return outputs, nil
}
