package store

import (
	"fmt"
	"sort"

	"pix/storepath"
)

// A GCAction says what a garbage collection is for.
type GCAction uint8

// The actions of Nix, numbered as in the protocol.
const (
	GCReturnLive     GCAction = iota // say which paths are needed
	GCReturnDead                     // say which paths are not
	GCDeleteDead                     // delete those that are not
	GCDeleteSpecific                 // delete the given paths, and fail if one of them is needed
)

// String returns a name such as "delete-dead".
func (a GCAction) String() string {
	switch a {
	case GCReturnLive:
		return "return-live"
	case GCReturnDead:
		return "return-dead"
	case GCDeleteDead:
		return "delete-dead"
	case GCDeleteSpecific:
		return "delete-specific"
	}
	return fmt.Sprintf("GCAction(%d)", uint8(a))
}

// GCOptions say what a garbage collection does.
type GCOptions struct {
	Action GCAction

	// Paths are those that [GCDeleteSpecific] deletes. The other actions are about the
	// whole store if Paths is nil, and about these paths alone if not.
	Paths []storepath.Path

	// DeleteReferrers lets what refers to one of Paths be deleted too, if it is not
	// needed.
	DeleteReferrers bool

	// IgnoreLiveness deletes what is needed, too. No daemon does that for anybody.
	IgnoreLiveness bool

	// MaxFreed is the number of bytes after which the collection stops:
	// math.MaxUint64 is no limit. With 0 nothing is collected by Nix 2.34, and one path by
	// some older ones.
	MaxFreed uint64
}

// A GCResult says what a garbage collection found, or did.
type GCResult struct {
	// Paths are what is live, dead or deleted. Whatever lies in the store directory may
	// be among them, such as the remains of a build, so they are not all store paths.
	Paths []string

	// BytesFreed is what was deleted, in bytes. What has other hard links is not
	// counted.
	BytesFreed uint64
}

// A Root is what keeps a path from being collected.
type Root struct {
	// Link is the name of a symlink to the path, or says in braces what else needs it,
	// such as "{temp:17}" for process 17, which a client has connected to. Users that are
	// not trusted get "{censored}" for some.
	Link string
	Path storepath.Path
}

// SortRoots sorts roots by path and link.
func SortRoots(roots []Root) {
	sort.Slice(roots, func(i, j int) bool {
		a, b := roots[i], roots[j]
		return a.Path < b.Path || a.Path == b.Path && a.Link < b.Link
	})
}
