package derivation

import (
	"context"

	"pix/storepath"
)

// LoadInputHashes loads the derivations on which the modulo hash of d depends, and returns the hashes of its inputs, for
// [Derivation.HashModulo], [Derivation.FillOutputPaths] and [Derivation.CheckOutputPaths]. It is nil for a
// derivation with a fixed output, whose hash does not depend on its inputs.
func LoadInputHashes(ctx context.Context, l Loader, d *Derivation) (InputHashes, error) {
	if kind, err := d.Kind(); err != nil || kind == Fixed {
		return nil, err
	}
	var roots []storepath.Path
	for path := range d.InputDerivations.Keys() {
		roots = append(roots, path)
	}
	closure, err := LoadClosure(ctx, l, roots, &ClosureOptions{ForHashes: true})
	if err != nil {
		return nil, err
	}
	return closure.InputHashes(ctx)
}
