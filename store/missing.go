package store

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// MissingWithoutSubstitutes returns what it would take to make paths valid in a store that can
// get nothing from elsewhere: derivations that would have to be built, and paths that are not
// to be had. The store must be an [OutputQuerier] and a [NARReader].
func MissingWithoutSubstitutes(ctx context.Context, s Store, paths []derivation.DerivedPath) (*Missing, error) {
	m := missingFinder{s: s, loader: Derivations(s), missing: new(Missing)}
	seen := make(map[string]bool)
	todo := slices.Clone(paths)
	for len(todo) > 0 {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		key := path.String()
		if seen[key] {
			continue
		}
		seen[key] = true
		needs, err := m.look(ctx, path)
		if err != nil {
			return nil, err
		}
		todo = append(todo, needs...)
	}
	slices.Sort(m.missing.WillBuild)
	m.missing.WillBuild = slices.Compact(m.missing.WillBuild)
	slices.Sort(m.missing.Unknown)
	m.missing.Unknown = slices.Compact(m.missing.Unknown)
	return m.missing, nil
}

// A missingFinder collects what is missing.
type missingFinder struct {
	s       Store
	loader  derivation.Loader
	missing *Missing
}

// look adds what one path lacks, and returns what its build would need.
func (m *missingFinder) look(ctx context.Context, path derivation.DerivedPath) (needs []derivation.DerivedPath, err error) {
	built, ok := path.(derivation.Built)
	if !ok {
		valid, err := m.s.IsValidPath(ctx, path.Base())
		if err == nil && !valid {
			m.missing.Unknown = append(m.missing.Unknown, path.Base())
		}
		return nil, err
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return nil, nil // what it is is known only when it is built; Nix passes it over, too
	}
	outputs, err := OutputMap(ctx, m.s, drv.Path)
	if errors.Is(err, ErrNotFound) {
		m.missing.Unknown = append(m.missing.Unknown, drv.Path)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if all, err := m.areValid(ctx, outputs, built.Outputs); err != nil || all {
		return nil, err
	}
	m.missing.WillBuild = append(m.missing.WillBuild, drv.Path)
	return m.inputs(ctx, drv.Path)
}

// areValid reports whether the outputs that are wanted are known and valid.
func (m *missingFinder) areValid(ctx context.Context, outputs map[string]storepath.Path, wanted derivation.OutputsSpec) (bool, error) {
	for name, path := range outputs {
		if !wanted.Contains(name) {
			continue
		}
		if path == "" {
			return false, nil
		}
		if valid, err := m.s.IsValidPath(ctx, path); err != nil || !valid {
			return false, err
		}
	}
	return true, nil
}

// inputs returns the outputs that the build of a derivation needs.
func (m *missingFinder) inputs(ctx context.Context, path storepath.Path) (needs []derivation.DerivedPath, err error) {
	text, err := m.loader.LoadDerivation(ctx, path)
	if errors.Is(err, fs.ErrNotExist) { // deleted just now
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := derivation.ParseAt(path, text)
	if err != nil {
		return nil, err
	}
	for input, outputs := range d.InputDerivations.All() {
		if names := outputs.Names.Slice(); len(names) > 0 {
			needs = append(needs, derivation.Built{Drv: derivation.Opaque{Path: input}, Outputs: derivation.NamedOutputs(names...)})
		}
	}
	return needs, nil
}
