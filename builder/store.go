package builder

import (
	"context"
	"io"

	"pix/store"
	"pix/storepath"
)

// A Store is what a build needs of the store in which its inputs are and to which its outputs go. Its objects are
// files of this machine.
type Store interface {
	store.Store
	Rules() store.Rules

	// ObjectFile returns the file name of the object of a path on this machine, valid or not.
	ObjectFile(path storepath.Path) string

	// StateDir is the directory with the state of the store (/nix/var/nix).
	StateDir() string

	// LockObjects takes Nix's locks of paths or, for an output without a known path, of lock names in the store directory
	// (base names without ".lock"), all or none, and makes temporary roots of the paths. It waits while another process holds one of them, and reports that.
	LockObjects(ctx context.Context, names ...string) (Locks, error)

	// RemoveObject deletes the object of an invalid path whose lock is held.
	RemoveObject(ctx context.Context, path storepath.Path) error

	// AddOutput moves the file or directory at from, which is canonical and on the file system of the store, to the place of
	// info.Path, whose lock is held. If replace is set, it takes the place of a valid object (repair). The path is not valid yet.
	AddOutput(ctx context.Context, from string, info *store.PathInfo, replace bool) error

	// RegisterOutputs makes paths valid, all in one transaction, whose objects AddOutput placed, signed with the keys of the options.
	RegisterOutputs(ctx context.Context, infos []*store.PathInfo) error

	// UpdateInfo replaces the ultimate flag and the signatures of a valid path.
	UpdateInfo(ctx context.Context, info *store.PathInfo) error

	// CreateLog returns a writer of the build log of a derivation, which replaces an older log.
	CreateLog(ctx context.Context, drv storepath.Path) (io.WriteCloser, error)
}

// Locks are the held locks of some objects.
type Locks interface {
	// Check returns an error if the locks were lost, because the store was removed.
	Check() error
	Release()
}
