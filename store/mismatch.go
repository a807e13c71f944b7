package store

import (
	"fmt"
	"slices"

	"pix/nar"
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

// CheckContents returns a [*MismatchError] unless the contents have a hash that the info's content
// address says, in one of the two forms of Nix. They are weakly addressed if other contents have the
// same content address and references: a path with a weak address needs a signature, as a path without
// content address does.
//
// The form without offsets is weak for an object that mentions its own path. An object that claims to
// refer to itself and does not mention its path is weak too: it may be such an object with
// all mentions replaced by NUL bytes.
func (info *PathInfo) CheckContents(got nar.ContentHashes) (weak bool, err error) {
	switch want := info.CA.Hash(); {
	case got.WithOffsets == want:
		return got.Mentions == 0 && slices.Contains(info.References, info.Path), nil
	case got.Plain == want:
		return true, nil
	default:
		return false, &MismatchError{"ca hash", info.Path, want.WithNix32(), got.Plain.WithNix32()}
	}
}

// A MissingReferenceError says, in the words of Nix, that an object cannot be added, because a path that it
// refers to is not valid. It is not [ErrNotFound]: the path that the caller asked for is not missing.
type MissingReferenceError struct {
	Path      storepath.Path // of the object; "" if that is not known
	Reference storepath.Path
	To        string // where the object cannot be added, if that is said; else the words are Nix's
}

func (e *MissingReferenceError) Error() string {
	if e.To == "" {
		return fmt.Sprintf("path '%s' is not valid", e.Reference)
	}
	return fmt.Sprintf("cannot add '%s' to %s because the reference '%s' is not valid", e.Path, e.To, e.Reference)
}

// An InfoError says that a store refuses an object because of its path info, or because the contents do not fit
// the info. It concerns no other object.
type InfoError struct {
	Path storepath.Path
	Err  error
}

func (e *InfoError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *InfoError) Unwrap() error { return e.Err }

// An UntrustedError says that an object lacks a signature that it needs, in the words of Nix.
type UntrustedError struct {
	Path storepath.Path
	Weak bool // it has a weak content address: see [PathInfo.CheckContents]
}

func (e *UntrustedError) Error() string {
	text := fmt.Sprintf("cannot add path '%s' because it lacks a signature by a trusted key", e.Path)
	if e.Weak {
		text += "; other contents have the same content address, since it does not cover where the object mentions its own path"
	}
	return text
}

// A ModifiedError says that what lies in the store is not what was added, in the words of Nix.
type ModifiedError struct {
	Path          storepath.Path
	Expected, Got nixhash.Hash // of its archive
}

func (e *ModifiedError) Error() string {
	return fmt.Sprintf("path '%s' was modified! expected hash '%s', got '%s'", e.Path, e.Expected.WithNix32(), e.Got.WithNix32())
}
