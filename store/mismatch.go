package store

import (
	"fmt"

	"pix/nixhash"
	"pix/storepath"
)

// A MismatchError says that an archive is not what its path info says, in the words of Nix.
type MismatchError struct {
	What           string // "hash", "size" or "ca hash"
	Path           storepath.Path
	Specified, Got string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s mismatch importing path '%s';\n  specified: %s\n  got:       %s", e.What, e.Path, e.Specified, e.Got)
}

// CheckArchive returns a [*MismatchError] unless an archive has the hash and the size in bytes
// that the info says.
func (info *PathInfo) CheckArchive(hash nixhash.Hash, size uint64) error {
	if hash != info.NARHash {
		return &MismatchError{"hash", info.Path, info.NARHash.WithNix32(), hash.WithNix32()}
	}
	if size != info.NARSize {
		return &MismatchError{"size", info.Path, fmt.Sprint(info.NARSize), fmt.Sprint(size)}
	}
	return nil
}

// CheckContentHash returns a [*MismatchError] unless the contents have the hash that the info's
// content address says.
func (info *PathInfo) CheckContentHash(hash nixhash.Hash) error {
	if want := info.CA.Hash(); hash != want {
		return &MismatchError{"ca hash", info.Path, want.WithNix32(), hash.WithNix32()}
	}
	return nil
}

// A ModifiedError says that what lies in the store is not what was added, in the words of Nix.
type ModifiedError struct {
	Path          storepath.Path
	Expected, Got nixhash.Hash // of its archive
}

func (e *ModifiedError) Error() string {
	return fmt.Sprintf("path '%s' was modified! expected hash '%s', got '%s'", e.Path, e.Expected.WithNix32(), e.Got.WithNix32())
}
