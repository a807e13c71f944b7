package localstore

import (
	"path/filepath"

	"pix/storepath"
)

// A layout says where the parts of a store are on the disk. All names are absolute.
//
// The store directory is a name that is written into store objects, and need not be where
// they are: a store under a root of its own ("chroot store") has the objects of /nix/store in
// ROOT/nix/store. See LocalFSStoreConfig in Nix's src/libstore/include/nix/store/local-fs-store.hh.
type layout struct {
	dir      storepath.Dir // what paths say
	storeDir string        // where objects are
	stateDir string        // Nix's NIX_STATE_DIR, /nix/var/nix
	logDir   string        // Nix's NIX_LOG_DIR, /nix/var/log/nix
}

// chrootLayout returns the layout of a store under a root of its own.
func chrootLayout(dir storepath.Dir, root string) layout {
	return layout{
		dir:      dir,
		storeDir: filepath.Join(root, "nix/store"),
		stateDir: filepath.Join(root, "nix/var/nix"),
		logDir:   filepath.Join(root, "nix/var/log/nix"),
	}
}

// object returns where the object of a path is.
func (l layout) object(p storepath.Path) string { return filepath.Join(l.storeDir, p.Base()) }

func (l layout) links() string      { return filepath.Join(l.storeDir, ".links") }
func (l layout) database() string   { return filepath.Join(l.stateDir, "db/db.sqlite") }
func (l layout) schemaFile() string { return filepath.Join(l.stateDir, "db/schema") }
func (l layout) reserved() string   { return filepath.Join(l.stateDir, "db/reserved") }
func (l layout) bigLock() string    { return filepath.Join(l.stateDir, "db/big-lock") }
func (l layout) gcRoots() string    { return filepath.Join(l.stateDir, "gcroots") }
func (l layout) profiles() string   { return filepath.Join(l.stateDir, "profiles") }
func (l layout) tempRoots() string  { return filepath.Join(l.stateDir, "temproots") }
func (l layout) gcLock() string     { return filepath.Join(l.stateDir, "gc.lock") }
func (l layout) gcSocket() string   { return filepath.Join(l.stateDir, "gc-socket/socket") }
func (l layout) buildLogs() string  { return filepath.Join(l.logDir, "drvs") }
