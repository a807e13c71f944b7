package store

import (
	"time"

	"pix/nixhash"
	"pix/storepath"
)

// A PathInfo is what a store knows of a valid path.
type PathInfo struct {
	Path    storepath.Path
	Deriver storepath.Path // the derivation that made it; "" if unknown

	NARHash nixhash.Hash // SHA-256 of the object's archive
	NARSize uint64       // of the archive in bytes; 0 if unknown

	// References are the paths that the object contains, sorted, possibly its own.
	References []storepath.Path

	// RegistrationTime is when the path became valid, in whole seconds; the zero
	// time if unknown.
	RegistrationTime time.Time

	// Ultimate says that this store built the object itself, and so trusts it
	// without a signature.
	Ultimate bool

	// Signatures are spelled "key name:base 64", sorted.
	Signatures []string

	// CA is the content address of an object whose path follows from its contents;
	// the zero value for all others.
	CA storepath.ContentAddress
}
