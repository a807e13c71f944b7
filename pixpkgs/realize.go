package pixpkgs

import (
	"context"
	"slices"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A Realized is the result of building a package.
type Realized struct {
	Package *Package
	// Outputs are the paths of all outputs by name, including paths that were unknown before the
	// build.
	Outputs map[string]storepath.Path
}

// Realize makes all outputs of the packages valid in a store. It adds their derivations and sources,
// with all missing dependencies, and tells the store to build. It returns the packages in the same
// order, with the paths of their outputs.
//
// If the store has sessions ([store.Sessioner]), Realize uses one, so that no object is collected
// between being added and being built. Events such as lines of build logs go to the handler in ctx; see
// package activity.
//
// The error is a [*store.BuildError] if a build failed, an [*Error] for a source that the store does
// not have, [errors.ErrUnsupported] if the store cannot do this, or another error of the store.
func Realize(ctx context.Context, s store.Store, packages ...*Package) ([]Realized, error) {
	if err := checkDirs(s, packages); err != nil {
		return nil, err
	}
	if sessioner, ok := store.As[store.Sessioner](s); ok {
		session, err := sessioner.Session(ctx)
		if err != nil {
			return nil, err
		}
		defer session.Close()
		s = session
	}
	if err := register(ctx, s, packages); err != nil {
		return nil, err
	}
	results, err := build(ctx, s, packages)
	if err != nil {
		return nil, err
	}
	all := make([]Realized, len(packages))
	for i, p := range packages {
		outputs, err := builtOutputs(ctx, s, p, results)
		if err != nil {
			return nil, err
		}
		all[i] = Realized{p, outputs}
	}
	return all, nil
}

// Instantiate adds the derivations and sources of the packages to a store, with all missing dependencies, and builds
// nothing. In Nix, nix-instantiate does this. A collector does not delete them while s is open; see [store.InSession].
//
// It returns the same errors as [Realize], except a [*store.BuildError].
func Instantiate(ctx context.Context, s store.Store, packages ...*Package) error {
	if err := checkDirs(s, packages); err != nil {
		return err
	}
	return register(ctx, s, packages)
}

// checkDirs checks that packages can be added to a store.
func checkDirs(s store.Store, packages []*Package) error {
	for _, p := range packages {
		if p == nil {
			return errNilPackage
		}
		if p.drv.Dir != s.Dir() {
			return p.normal.failf("", "its store directory is %s, but the store has %s", p.drv.Dir, s.Dir())
		}
	}
	return nil
}

// build builds the packages. It returns the results of the builds if the path of an output is unknown: a
// store does not record the outputs of impure packages, so only the result has their paths.
func build(ctx context.Context, s store.Store, packages []*Package) ([]store.KeyedBuildResult, error) {
	wanted := make([]derivation.DerivedPath, len(packages))
	known := true
	for i, p := range packages {
		wanted[i] = derivation.Built{Drv: derivation.Opaque{Path: p.path}, Outputs: derivation.AllOutputs()}
		known = known && p.knowsOutputs()
	}
	if _, ok := store.As[store.ResultBuilder](s); known || !ok {
		return nil, store.BuildPaths(ctx, s, wanted, store.BuildNormal)
	}
	results, err := store.BuildPathsWithResults(ctx, s, wanted, store.BuildNormal)
	if err != nil {
		return nil, err
	}
	if err := store.ResultsError(activity.HandlerOf(ctx), results); err != nil {
		return nil, &store.BuildError{Paths: wanted, Err: err}
	}
	return results, nil
}

// knowsOutputs reports whether the paths of all outputs are known before the build.
func (p *Package) knowsOutputs() bool {
	return !slices.ContainsFunc(p.outputs, func(o output) bool { return o.path == "" })
}

// builtOutputs returns the paths of the outputs. Paths that are known only after the build are in the
// results, or the store has recorded them.
func builtOutputs(ctx context.Context, s store.Store, p *Package, results []store.KeyedBuildResult) (map[string]storepath.Path, error) {
	paths := make(map[string]storepath.Path, len(p.outputs))
	if p.knowsOutputs() {
		for i := range p.outputs {
			paths[p.outputs[i].name] = p.outputs[i].path
		}
		return paths, nil
	}
	for i := range results {
		if results[i].Path.Base() == p.path && len(results[i].Outputs) == len(p.outputs) {
			for name, built := range results[i].Outputs {
				paths[name] = built.OutPath
			}
			return paths, nil
		}
	}
	paths, err := store.OutputMap(ctx, s, p.path)
	for name, path := range paths {
		if path == "" {
			return nil, p.normal.failf("", "the store has built it, but does not know the path of output %q", name)
		}
	}
	return paths, err
}
