package store

import (
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
