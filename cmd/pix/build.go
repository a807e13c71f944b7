package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

func newBuild(a *app) *cobra.Command {
	var printOutPaths, check, repair bool
	cmd := &cobra.Command{
		Use:   "build INSTALLABLE...",
		Short: "Build outputs of derivations, or substitute paths",
		Long: `Build outputs of derivations, or substitute paths. An installable is a store path, or a
derivation, ^ and its outputs: /nix/store/...-hello.drv^out, ^out,dev or ^* for all. Build
logs go to standard error.`,
		Example: "  pix build --print-out-paths '/nix/store/...-hello.drv^*'",
		GroupID: groupStore,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := a.follow(cmd.Context())
			if check && repair {
				return wrongUse(cmd, errors.New("--check and --repair exclude each other"))
			}
			installables, err := a.installables(args)
			if err != nil {
				return err
			}
			s, err := a.open(ctx)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := store.BuildPaths(ctx, s, installables, buildMode(check, repair)); err != nil {
				return err
			}
			if !printOutPaths {
				return a.print("build succeeded\n")
			}
			paths, err := outPaths(ctx, s, installables)
			if err != nil {
				return err
			}
			return a.print(paths)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&printOutPaths, "print-out-paths", false, "print the paths that were built, a line each")
	flags.BoolVar(&check, "check", false, "build again what is valid, and compare")
	flags.BoolVar(&repair, "repair", false, "build or fetch again what is damaged")
	return cmd
}

func buildMode(check, repair bool) store.BuildMode {
	switch {
	case check:
		return store.BuildCheck
	case repair:
		return store.BuildRepair
	}
	return store.BuildNormal
}

// installables parses what is to be built.
func (a *app) installables(args []string) ([]derivation.DerivedPath, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	installables := make([]derivation.DerivedPath, len(args))
	for i, arg := range args {
		parse := derivation.ParseDerivedPath
		if strings.Contains(arg, "!") { // as older versions of Nix have it
			parse = derivation.ParseLegacyDerivedPath
		}
		if installables[i], err = parse(dir, arg); err != nil {
			return nil, &usageError{fmt.Errorf("%w; expected a store path, or a derivation, ^ and its outputs", err)}
		}
	}
	return installables, nil
}

// outPaths returns the store paths of what was built, a line each.
func outPaths(ctx context.Context, s store.Store, built []derivation.DerivedPath) (string, error) {
	var b strings.Builder
	for _, p := range built {
		paths, err := pathsOf(ctx, s, p)
		if err != nil {
			return "", err
		}
		for _, path := range paths {
			b.WriteString(string(path) + "\n")
		}
	}
	return b.String(), nil
}

// pathsOf returns the store paths of what was built, by output name.
func pathsOf(ctx context.Context, s store.Store, built derivation.DerivedPath) ([]storepath.Path, error) {
	switch built := built.(type) {
	case derivation.Opaque:
		return []storepath.Path{built.Path}, nil
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
	paths, err := outputsOf(ctx, s, above, derivation.NamedOutputs(built.Output))
	if err != nil {
		return "", err
	}
	return paths[0], nil
}

// outputsOf returns the paths of outputs of a derivation, sorted by name.
func outputsOf(ctx context.Context, s store.Store, drv storepath.Path, which derivation.OutputsSpec) ([]storepath.Path, error) {
	outputs, err := store.OutputMap(ctx, s, drv)
	if err != nil {
		return nil, err
	}
	var paths []storepath.Path
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if !which.Contains(name) {
			continue
		}
		if outputs[name] == "" {
			return nil, fmt.Errorf("the store does not know the path of output '%s' of '%s'", name, drv)
		}
		paths = append(paths, outputs[name])
	}
	if !which.All() && len(paths) < which.Names().Len() {
		return nil, fmt.Errorf("derivation '%s' does not have all of the outputs %s", drv, which)
	}
	return paths, nil
}
