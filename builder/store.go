package builder

import (
	"context"
	"io"
	"os"

	"pix/store"
	"pix/storepath"
)

// A Store contains the inputs of a build and receives its outputs. Its objects are files of this machine.
type Store interface {
	store.Store
	Rules() store.Rules

	// ObjectFile returns the file name of the object of a path on this machine, valid or not. Only this process can use it.
	ObjectFile(path storepath.Path) string

	// StoreDirName returns the name of the store directory on this machine for all processes. It differs from the directory
	// of ObjectFile if it is mounted read-only.
	StoreDirName() string

	// StateDir is the directory with the state of the store (/nix/var/nix).
	StateDir() string

	// AddTempRoots keeps collectors from deleting the objects of paths, valid or not, and other files with their hash
	// parts.
	AddTempRoots(ctx context.Context, paths []storepath.Path) error

	// LockObjects takes Nix's locks of objects, all or none. A name is the base name of a store path or, for an
	// output without a known path, the base name of the derivation, a dot and the name of the output: the names of
	// lock files without ".lock". Paths become temporary roots. It waits while another process holds one of them, and
	// reports that.
	LockObjects(ctx context.Context, names ...string) (Locks, error)

	// TryLockObjects returns nil if another process holds one of the locks. The caller may hold others.
	TryLockObjects(ctx context.Context, names ...string) (Locks, error)

	// RemoveObject deletes the object of an invalid path whose lock is held, if there is one.
	RemoveObject(ctx context.Context, path storepath.Path) error

	// AddOutput moves the file or directory at from, which is canonical and on the file system of the store, to the
	// place of info.Path, whose lock is held. If replace is set, it takes the place of a valid object (repair). With
	// optimise, its files become hard links to identical ones of the store. The path is not valid yet.
	AddOutput(ctx context.Context, from string, info *store.PathInfo, replace, optimise bool) error

	// RegisterOutputs makes paths valid in one transaction. AddOutput has placed their objects.
	RegisterOutputs(ctx context.Context, infos []*store.PathInfo) error

	// UpdateInfo replaces the ultimate flag and the signatures of a valid path.
	UpdateInfo(ctx context.Context, info *store.PathInfo) error

	// KeepCheck moves the file or directory at from beside the object of path, and returns its new name. A check has
	// found that they differ.
	KeepCheck(ctx context.Context, from string, path storepath.Path) (file string, err error)

	// The paths of outputs that are known only after a build.
	store.RealisationStore

	// CreateLog returns a writer of the build log of a derivation, which replaces an older log.
	CreateLog(ctx context.Context, drv storepath.Path) (io.WriteCloser, error)
}

// Locks are the held locks of some objects.
//
// It is an alias, so that a store can implement [Store] without importing this package.
type Locks = interface {
	// Check returns an error if the locks were lost, because the store was removed.
	Check() error
	Release()

	// File returns an open file that has one of the locks, or nil. The lock lasts until the last copy of the descriptor is
	// closed. A process that has one keeps it locked after this process was killed.
	File() *os.File
}
