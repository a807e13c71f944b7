package localstore

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/objects"
	"pix/localstore/internal/temproots"
	"pix/storepath"
)

// A layout contains the locations of a store on disk. All file names are absolute.
//
// Store paths begin with the logical store directory, which can differ from the location of the objects: a chroot store
// has the objects of /nix/store in ROOT/nix/store. See LocalFSStoreConfig in Nix's
// src/libstore/include/nix/store/local-fs-store.hh.
type layout struct {
	dir       storepath.Dir // the logical store directory
	storeDir  string        // the directory of the objects, as this process opens it
	storeName string        // the name of this directory for all processes and in messages
	stateDir  string        // Nix's NIX_STATE_DIR, /nix/var/nix
	logDir    string        // Nix's NIX_LOG_DIR, /nix/var/log/nix

	clone    *os.File // keeps storeDir valid, if it differs from storeName; see [openLayout]
	readOnly error    // why a directory that is mounted read-only could not be cloned
}

// newLayout returns the layout for the options. It resolves symlinks in Root, so that later changes of the symlinks do
// not affect an open store.
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
		// As in Nix, this directory contains the objects of every logical store directory.
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

// resolve returns the absolute name of a directory without symlinks. The directory need not exist.
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

// object returns the file name of the object of a path.
func (l layout) object(p storepath.Path) string { return filepath.Join(l.storeDir, p.Base()) }

// rootsState returns the location of the files of temporary roots.
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

// An Info contains the locations of a store.
type Info struct {
	Dir      storepath.Dir // the logical store directory, with which store paths begin
	StoreDir string        // contains the objects
	StateDir string        // contains the database and the garbage collector roots
	LogDir   string        // contains the build logs
	Schema   int           // version of the database schema
	Writable bool          // this process may write to the database
}

// Info returns the locations of the store.
func (s *Store) Info() Info { return s.info() }

func (s *shared) info() Info {
	return Info{s.dir, s.storeName, s.stateDir, s.logDir, nixdb.SchemaVersion, isWritable(s.databaseFile())}
}
