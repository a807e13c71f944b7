package store

import (
	"context"

	"pix/derivation"
	"pix/storepath"
)

// ModuloHashes are the modulo hashes of derivations, by their paths. A program that hashes many derivations of a store keeps
// them, so that it computes each hash once: otherwise its time would grow with the square of the number of derivations. The
// derivations need not be in the store. One goroutine at a time may use a ModuloHashes.
type ModuloHashes map[storepath.Path]derivation.ModuloHash

// Get returns the hash of the derivation at a path, if it is known. It is a [derivation.InputHashes].
func (h ModuloHashes) Get(path storepath.Path) (derivation.ModuloHash, bool) {
	hash, ok := h[path]
	return hash, ok
}

// InputsOf returns the hashes of the inputs of d. It reads the derivations whose hashes are unknown from s, and keeps their
// hashes. The hash of a fixed output needs none, so it returns nil for such a derivation. It returns the errors of
// [derivation.LoadClosure].
func (h ModuloHashes) InputsOf(ctx context.Context, s Store, d *derivation.Derivation) (derivation.InputHashes, error) {
	if kind, err := d.Kind(); err != nil || kind == derivation.Fixed {
		return nil, err
	}
	var unknown []storepath.Path
	for path := range d.InputDerivations.Keys() {
		if _, ok := h[path]; !ok {
			unknown = append(unknown, path)
		}
	}
	if len(unknown) == 0 {
		return h.Get, nil
	}
	closure, err := derivation.LoadClosure(ctx, Derivations(s), unknown, &derivation.ClosureOptions{ForHashes: true, Known: h.Get})
	if err != nil {
		return nil, err
	}
	hashes, err := closure.InputHashes(ctx)
	if err != nil {
		return nil, err
	}
	for path := range closure.All() {
		h[path.Clone()], _ = hashes(path) // the path is a part of the text of a derivation
	}
	return h.Get, nil
}
