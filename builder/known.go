package builder

import (
	"context"
	"errors"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// findKnown finds the paths that earlier builds have registered for floating outputs, so that valid ones are not built
// again, and a check has something to compare with. It adds temporary roots for them: a collector may run between the
// look-up and the end of the call.
func (b *build) findKnown(ctx context.Context) error {
	if b.kind != derivation.Floating || b.drv.InputDerivations.Len() > 0 {
		return nil
	}
	hash, err := b.drv.HashModulo(derivation.ForOutputs, nil, nil)
	if err != nil {
		return err
	}
	var roots []storepath.Path
	for _, o := range b.outputs {
		r, err := store.QueryRealisation(ctx, b.store, store.DrvOutput{Path: b.req.Path, Hash: hash.Hash, Output: o.name})
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		o.known = r.OutPath
		roots = append(roots, o.known)
	}
	return b.store.AddTempRoots(ctx, roots)
}

// lastPath returns the path of an output that may be valid before the build: the final one, or the one of an earlier build
// if the path depends on the contents.
func (o *output) lastPath() storepath.Path {
	if o.path != "" {
		return o.path
	}
	return o.known
}
