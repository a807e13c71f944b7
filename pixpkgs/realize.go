package pixpkgs

import (
	"context"
	"fmt"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A Realized is the result of building a package.
type Realized struct {
	Package *Package
	// Outputs are the paths of all outputs by name, including those that were unknown before the
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
	for _, p := range packages {
		if p == nil {
			return nil, fmt.Errorf("a *Package is nil")
		}
		if p.drv.Dir != s.Dir() {
			return nil, p.normal.failf("", "its store directory is %s, but the store has %s", p.drv.Dir, s.Dir())
		}
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
	if err := build(ctx, s, packages); err != nil {
		return nil, err
	}
	all := make([]Realized, len(packages))
	for i, p := range packages {
		outputs, err := builtOutputs(ctx, s, p)
		if err != nil {
			return nil, err
		}
		all[i] = Realized{p, outputs}
	}
	return all, nil
}

func build(ctx context.Context, s store.Store, packages []*Package) error {
	wanted := make([]derivation.DerivedPath, len(packages))
	for i, p := range packages {
		wanted[i] = derivation.Built{Drv: derivation.Opaque{Path: p.path}, Outputs: derivation.AllOutputs()}
	}
	return store.BuildPaths(ctx, s, wanted, store.BuildNormal)
}

// builtOutputs returns the paths of the outputs. It asks the store for paths that are known only after
// the build.
func builtOutputs(ctx context.Context, s store.Store, p *Package) (map[string]storepath.Path, error) {
	paths := make(map[string]storepath.Path, len(p.outputs))
	for i := range p.outputs {
		if p.outputs[i].path == "" {
			return store.OutputMap(ctx, s, p.path)
		}
		paths[p.outputs[i].name] = p.outputs[i].path
	}
	return paths, nil
}
