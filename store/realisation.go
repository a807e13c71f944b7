package store

import (
	"context"

	"pix/nixhash"
	"pix/storepath"
)

// A DrvOutput names an output of a derivation in questions about realisations. Daemons
// up to Nix 2.34 know the derivation by Hash, later ones (with the feature
// realisation-with-path-not-hash) by Path. Who sets both can ask either.
type DrvOutput struct {
	Path   storepath.Path // of the derivation
	Hash   nixhash.Hash   // the derivation's modulo hash
	Output string
}

// A KeyedRealisation is a [Realisation] and the output that it is of.
type KeyedRealisation struct {
	ID DrvOutput
	Realisation
}

// A DrvHasher is a [Store] that computes the hash by which others know the realisations of a valid
// derivation.
type DrvHasher interface {
	DrvHash(ctx context.Context, drv storepath.Path) (nixhash.Hash, error)
}
