package store

import (
	"context"
	"errors"

	"pix/derivation"
	"pix/storepath"
)

// OutputRealisations returns the realisations of the floating outputs of a valid derivation that s
// knows. Each ID has the hash of the derivation and the path of the resolved derivation if they are
// known, so every store can register the realisations. A derivation without floating outputs has
// none, because its output paths follow from the derivation itself.
func OutputRealisations(ctx context.Context, s Store, drv storepath.Path) (found []KeyedRealisation, err error) {
	d, err := ReadDerivation(ctx, s, drv)
	if err != nil {
		return nil, err
	}
	var id DrvOutput
	for name, output := range d.Outputs.All() {
		if output.Kind() != derivation.Floating {
			continue
		}
		if id.Output == "" {
			if id, err = realisationID(ctx, s, drv, d); err != nil {
				return nil, err
			}
		}
		id.Output = name
		r, err := QueryRealisation(ctx, s, id)
		if _, unnamed := errors.AsType[*UnnamedOutputError](err); unnamed || errors.Is(err, ErrNotFound) {
			continue // without the input derivations, s cannot look up the realisation
		}
		if err != nil {
			return nil, err
		}
		found = append(found, KeyedRealisation{ID: id, Realisation: *r})
	}
	return found, nil
}

// realisationID returns the hash and the resolved path of a derivation. Input derivations that are not valid, and
// outputs of them that are unknown, leave fields empty.
func realisationID(ctx context.Context, s Store, drv storepath.Path, d *derivation.Derivation) (id DrvOutput, err error) {
	if id.Hash, err = DrvHash(ctx, s, drv); err != nil && !errors.Is(err, ErrNotFound) {
		return id, err
	}
	id.Path, err = ResolvedPath(d, func(input derivation.SingleDerivedPath, output string) (storepath.Path, error) {
		return ResolvePath(ctx, s, derivation.SingleBuilt{Drv: input, Output: output})
	})
	return id, err
}
