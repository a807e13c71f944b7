package localstore

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"pix/localstore/internal/nixdb"
	"pix/localstore/internal/pathlock"
	"pix/localstore/internal/temproots"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// Options are the locations and the settings of a store.
type Options struct {
	// Dir is the logical store directory, with which store paths begin. "" means [storepath.DefaultDir].
	Dir storepath.Dir

	// Root is the root directory of a chroot store: the objects of /nix/store are in Root/nix/store. "" means that
	// the store has no root directory of its own.
	Root string

	// StoreDir is the directory of the objects, StateDir contains the database, and LogDir the build logs. The
	// default of StoreDir is Root/nix/store, or Dir if there is no Root. The defaults of the others are
	// Root/nix/var/nix and Root/nix/var/log/nix.
	StoreDir, StateDir, LogDir string

	// ReadOnly opens an existing store and writes nothing to it, except SQLite's shared memory while other
	// processes have the database open. Every operation that would write returns [ErrReadOnly].
	ReadOnly bool

	// AllowSymlinks allows a store directory that is a symlink, or is below one. A build can put the target of such
	// a symlink into its outputs, which then do not work on other machines. Nix's allow-symlinked-store.
	AllowSymlinks bool
	// NoCreate makes [Open] return a [*NoStoreError] if the store does not exist.
	NoCreate bool

	// TrustedKeys are trusted public keys. One of them must have signed the info of an added path, unless the path
	// follows from the contents. Nix's trusted-public-keys.
	TrustedKeys signature.KeySet

	// NoSignatures allows objects without a trusted signature. It is the opposite of Nix's require-sigs.
	NoSignatures bool

	// NoSync does not sync the database to the disk. After a power cut or a crash of the system, the database may be
	// damaged. It is the opposite of Nix's fsync-metadata.
	NoSync bool

	// NoWAL uses a rollback journal instead of a write-ahead log, and locks the database with a directory beside
	// it. This works on network file systems. It is slower, and readers and writers block each other. All programs
	// that share a store must use the same value. It is the opposite of Nix's use-sqlite-wal.
	NoWAL bool

	// SyncObjects syncs objects to the disk before their paths become valid. Without it, a path that was added just
	// before a power cut may be valid and have empty files, which [Store.VerifyStore] finds. Nix's fsync-store-paths.
	SyncObjects bool

	// KeepOutputs keeps the outputs of live derivations in a garbage collection. Nix's keep-outputs.
	KeepOutputs bool

	// DropDerivers collects derivations although their outputs are live. It is the opposite of Nix's
	// keep-derivations.
	DropDerivers bool

	// AutoOptimise replaces the files of an added object with hard links to identical files in the store. Nix's
	// auto-optimise-store.
	AutoOptimise bool

	// MinFree is a number of free bytes on the file system of the objects. If fewer are free when an object is
	// added, the store first collects garbage until MaxFree bytes are free, or all garbage if MaxFree is 0. It
	// checks the free space at most once in MinFreeInterval, or on each addition if that is 0. Nix's min-free,
	// max-free and min-free-check-interval.
	MinFree, MaxFree uint64
	MinFreeInterval  time.Duration

	// ReservedSpace is the size in bytes of a file that a garbage collection deletes first, so that it can write to
	// the database on a full disk. 0 means 8 MiB, and a negative value means no file. Nix's gc-reserved-space.
	ReservedSpace int64

	// Rules select the version of Nix whose rules new objects and realisations follow. The store can read and add
	// objects and realisations of every version.
	Rules store.Rules

	// RepairFrom is the store from which [Store.VerifyStore] copies objects that are damaged here.
	RepairFrom store.Store
}

// A Store is an open store in a directory. Many goroutines and processes, including Nix, may use the store at the same
// time.
type Store struct {
	*shared
	temp    *temproots.Roots // nil if the store is read-only
	session bool             // Close leaves the store open for the other sessions
}

// shared is the part of a Store that all its sessions share.
type shared struct {
	layout
	opts      Options
	modulo    moduloHashes
	tempNames tempNames
	locks     *pathlock.Locks
	largeDrvs chan struct{} // contains a value while a goroutine reads a large derivation
	auto      autoGC

	verified verifiedObjects

	mu      sync.RWMutex
	db      *database // nil if it could not be opened on a full disk
	bigLock *os.File  // locked; nil if the store is read-only or the database is not open
	closed  bool
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.AllPathsQuerier   = (*Store)(nil)
	_ store.AllInfosQuerier   = (*Store)(nil)
	_ store.PathsLister       = (*Store)(nil)
	_ store.InfosQuerier      = (*Store)(nil)
	_ store.ReferrerQuerier   = (*Store)(nil)
	_ store.DeriverQuerier    = (*Store)(nil)
	_ store.HashPartQuerier   = (*Store)(nil)
	_ store.SubstituteQuerier = (*Store)(nil)
	_ store.MissingQuerier    = (*Store)(nil)
	_ store.RealisationStore  = (*Store)(nil)
	_ store.DrvHasher         = (*Store)(nil)
	_ store.DerivationLender  = (*Store)(nil)

	_ store.DerivationTextReader = (*Store)(nil)

	_ store.OutputQuerier   = (*Store)(nil)
	_ store.TextAdder       = (*Store)(nil)
	_ store.Adder           = (*Store)(nil)
	_ store.NARAdder        = (*Store)(nil)
	_ store.NARReader       = (*Store)(nil)
	_ store.NAROffsetReader = (*Store)(nil)
	_ store.ListingReader   = (*Store)(nil)
	_ store.Signer          = (*Store)(nil)
	_ store.SignatureKeeper = (*Store)(nil)
	_ store.LogAdder        = (*Store)(nil)
	_ store.Ensurer         = (*Store)(nil)
	_ store.MultipleAdder   = (*Store)(nil)
	_ store.Sessioner       = (*Store)(nil)
	_ store.TempRooter      = (*Store)(nil)
	_ store.ManyTempRooter  = (*Store)(nil)
)

// Open opens a store. If the store does not exist, Open creates an empty one. With ReadOnly or NoCreate, it returns a
// [*NoStoreError] instead.
//
// On a full disk SQLite may be unable to open the database of an existing store. Open still succeeds, so that
// [Store.CollectGarbage] can free space. Every other call tries to open the database again.
//
// Open returns a [*SchemaError] if the version of the store is not supported, a [*DatabaseError] if the database cannot
// be used, and otherwise an [*fs.PathError].
func Open(ctx context.Context, opts *Options) (*Store, error) {
	s := &shared{largeDrvs: make(chan struct{}, 1), auto: newAutoGC()}
	if opts != nil {
		s.opts = *opts
	}
	var err error
	if s.layout, err = openLayout(&s.opts); err != nil {
		return nil, err
	}
	// On a full disk a collection deletes the reserved space first, and opens the database after that.
	if err := s.open(ctx); err != nil && (s.opts.ReadOnly || !nixdb.IsDiskFull(err) || !s.hasDatabase()) {
		return nil, err
	}
	if s.db != nil && !s.opts.ReadOnly {
		s.reserveSpace()
	}
	s.locks = pathlock.New(s.spareLocksDir(), lockBudget())
	if !s.opts.ReadOnly {
		s.tempNames.roots = temproots.Open(s.rootsState())
	}
	return s.newStore(false), nil
}

// newStore returns a Store with its own temporary roots.
func (s *shared) newStore(session bool) *Store {
	u := &Store{shared: s, session: session}
	if !s.opts.ReadOnly {
		u.temp = temproots.Open(s.rootsState())
	}
	return u
}

// ReadOnly reports whether the store was opened with [Options.ReadOnly].
func (s *Store) ReadOnly() bool { return s.opts.ReadOnly }

// Session returns a view of the same store with its own temporary roots. An object that is added through the session is
// not collected before the session is closed.
func (s *Store) Session(ctx context.Context) (store.Store, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	return s.newStore(true), nil
}

// open opens the database and takes the big lock. The caller holds mu, or is the only user of s. If open fails, it does
// not change s.
func (s *shared) open(ctx context.Context) (err error) {
	if s.opts.ReadOnly || s.opts.NoCreate {
		if err := s.checkExists(); err != nil {
			return err
		}
	}
	var bigLock *os.File
	if !s.opts.ReadOnly {
		if err := s.createDirs(); err != nil {
			return err
		}
		if bigLock, err = s.takeBigLock(ctx); err != nil {
			return err
		}
	}
	db, err := s.openDatabase(ctx)
	if err != nil {
		if bigLock != nil {
			bigLock.Close()
		}
		return err
	}
	s.db, s.bigLock = db, bigLock
	return nil
}

// Close closes the store or the session. Calls that have started may still succeed. Later calls return [ErrClosed].
func (s *Store) Close() error {
	var err error
	if s.temp != nil {
		err = s.temp.Close()
	}
	if s.session {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return err
	}
	s.closed = true
	if s.tempNames.roots != nil {
		err = errors.Join(err, s.tempNames.roots.Close())
	}
	s.locks.Close()
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	s.releaseBigLock()
	return err
}

// Rules implements [store.RulesStore].
func (s *Store) Rules() store.Rules { return s.opts.Rules }

// Dir returns the logical store directory, with which store paths begin.
func (s *Store) Dir() storepath.Dir { return s.dir }
