package localstore

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/storepath"
)

// A layout says where the parts of a store are on the disk. All names are absolute.
//
// The store directory is a name that is written into store objects, and need not be where
// they are: a store under a root of its own ("chroot store") has the objects of /nix/store in
// ROOT/nix/store. See LocalFSStoreConfig in Nix's src/libstore/include/nix/store/local-fs-store.hh.
type layout struct {
	dir       storepath.Dir // what paths say
	storeDir  string        // where this process reaches the objects
	storeName string        // where the objects are for all processes
	stateDir  string        // Nix's NIX_STATE_DIR, /nix/var/nix
	logDir    string        // Nix's NIX_LOG_DIR, /nix/var/log/nix

	clone    *os.File // keeps storeDir valid, if that is not storeName; see [openLayout]
	readOnly error    // why there is no clone of a directory that is mounted read-only
}

// newLayout returns the layout that the options say. Symlinks on the way to a root of its own
// are resolved: the root is what they lead to now.
func newLayout(opts *Options) (layout, error) {
	l := layout{dir: cmp.Or(opts.Dir, storepath.DefaultDir)}
	dir, err := storepath.ParseDir(string(l.dir))
	if err != nil {
		return l, err
	}
	l.storeDir, l.stateDir, l.logDir = string(dir), "/nix/var/nix", "/nix/var/log/nix"
	if opts.Root != "" {
		root, err := resolve(opts.Root)
		if err != nil {
			return l, err
		}
		// The objects of any store directory are there, as in Nix.
		l.storeDir = filepath.Join(root, "nix/store")
		l.stateDir = filepath.Join(root, l.stateDir)
		l.logDir = filepath.Join(root, l.logDir)
	}
	l.storeDir = cmp.Or(opts.StoreDir, l.storeDir)
	l.stateDir = cmp.Or(opts.StateDir, l.stateDir)
	l.logDir = cmp.Or(opts.LogDir, l.logDir)
	for _, dir := range []*string{&l.storeDir, &l.stateDir, &l.logDir} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return l, err
		}
	}
	l.storeName = l.storeDir
	return l, nil
}

// resolve returns the absolute name of a directory, which need not be there, without symlinks
// in it.
func resolve(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return resolved, err
	}
	parent, err := resolve(filepath.Dir(name))
	return filepath.Join(parent, filepath.Base(name)), err
}

// object returns where the object of a path is.
func (l layout) object(p storepath.Path) string { return filepath.Join(l.storeDir, p.Base()) }

// rootsState returns where the files of temporary roots are.
func (l layout) rootsState() temproots.State { return temproots.State{Dir: l.stateDir, Store: l.dir} }

func (l layout) links() string         { return filepath.Join(l.storeDir, objects.LinksName) }
func (l layout) databaseFile() string  { return filepath.Join(l.stateDir, "db/db.sqlite") }
func (l layout) schemaFile() string    { return filepath.Join(l.stateDir, "db/schema") }
func (l layout) reserved() string      { return filepath.Join(l.stateDir, "db/reserved") }
func (l layout) bigLockFile() string   { return filepath.Join(l.stateDir, "db/big-lock") }
func (l layout) gcRoots() string       { return filepath.Join(l.stateDir, "gcroots") }
func (l layout) profiles() string      { return filepath.Join(l.stateDir, "profiles") }
func (l layout) tempRoots() string     { return l.rootsState().RootsDir() }
func (l layout) spareLocksDir() string { return filepath.Join(l.stateDir, "pix/locks") }
func (l layout) buildLogs() string     { return filepath.Join(l.logDir, "drvs") }
