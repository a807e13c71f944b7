package localstore

import (
	"context"
	"errors"
	"io/fs"
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

// Options say where a store is and how it behaves. Either Root is needed, or the directories.
type Options struct {
	// Dir is the store directory that paths name; "" is [storepath.DefaultDir].
	Dir storepath.Dir

	// Root is where a store lies that has a root of its own ("chroot store" in Nix): the
	// objects of /nix/store are in Root/nix/store.
	Root string

	// StoreDir is where the objects are, StateDir where the database is and LogDir where
	// build logs are. What is "" follows from Root, or without one is Dir itself,
	// /nix/var/nix and /nix/var/log/nix.
	StoreDir, StateDir, LogDir string

	// ReadOnly opens an existing store and writes nothing to it, except SQLite's shared memory while other
	// processes have the database open. Every operation that would write returns [ErrReadOnly].
	ReadOnly bool

	// AllowSymlinks accepts a store directory that is a symlink, or lies below one, Nix's
	// allow-symlinked-store. A build can put the target of such a link into its outputs, so that they do
	// not work on other machines.
	AllowSymlinks bool
	// NoCreate makes [Open] return a [*NoStoreError] if the store does not exist.
	NoCreate bool

	// TrustedKeys are the keys that one of must have signed what is added under a path
	// that does not follow from the contents.
	TrustedKeys signature.KeySet

	// NoSignatures takes such objects from everybody, whoever signed them.
	NoSignatures bool

	// NoSync leaves it to the system when the database gets to the disk. After a crash of
	// the system, not only of the program, the database may then be damaged. It is the
	// opposite of Nix's fsync-metadata.
	NoSync bool

	// NoWAL gives the database a rollback journal instead of a write-ahead log, and locks it by a directory
	// beside it, for network file systems. It is slower, and readers and writers wait for each other. It is
	// the opposite of Nix's use-sqlite-wal, and must be the same in all programs that share a store.
	NoWAL bool

	// SyncObjects writes objects to the disk before they become valid, as Nix's
	// fsync-store-paths does. Without it, paths that were added just before a power cut may be
	// valid and empty; verification finds them.
	SyncObjects bool

	// KeepOutputs keeps the outputs of derivations that are live, Nix's keep-outputs.
	KeepOutputs bool

	// DropDerivers collects derivations even if outputs of theirs are live. It is the opposite
	// of Nix's keep-derivations.
	DropDerivers bool

	// AutoOptimise makes files of objects that are added one with equal ones that are there,
	// Nix's auto-optimise-store.
	AutoOptimise bool

	// MinFree is how many bytes of the disk with the objects shall be free, Nix's min-free. If
	// there are fewer when something is to be added, garbage is collected first, until
	// MaxFree are; 0 means all garbage. It is looked at once in MinFreeInterval; 0 is always.
	MinFree, MaxFree uint64
	MinFreeInterval  time.Duration

	// ReservedSpace is how many bytes are set aside so that the database of a full disk can
	// be written to when garbage is collected, Nix's gc-reserved-space. 0 is 8 MiB, and what is
	// negative is none.
	ReservedSpace int64

	// Rules say which version of Nix new objects and realisations follow. They do not restrict what can
	// be read or added.
	Rules store.Rules

	// RepairFrom is the store that [Store.VerifyStore] takes objects from that are damaged.
	RepairFrom store.Store
}

// A Store is an open store in a directory. Any number of goroutines and processes, Nix's
// among them, may use it at once.
type Store struct {
	*shared
	temp    *temproots.Roots // nil if the store is read-only
	session bool             // closing it leaves the others open
}

// shared is what all sessions of an open store have in common.
type shared struct {
	layout
	opts      Options
	modulo    moduloHashes
	tempNames tempNames
	locks     *pathlock.Locks
	largeDrvs chan struct{} // holds one value while a goroutine reads a large derivation
	auto      autoGC

	checked checkedObjects

	mu      sync.RWMutex
	db      *database // nil while a full disk prevents opening it
	bigLock *os.File  // held shared; nil if the store is read-only, or the database is not open
	closed  bool
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.AllPathsQuerier   = (*Store)(nil)
	_ store.InfosQuerier      = (*Store)(nil)
	_ store.ReferrerQuerier   = (*Store)(nil)
	_ store.DeriverQuerier    = (*Store)(nil)
	_ store.HashPartQuerier   = (*Store)(nil)
	_ store.SubstituteQuerier = (*Store)(nil)
	_ store.MissingQuerier    = (*Store)(nil)
	_ store.RealisationStore  = (*Store)(nil)
	_ store.DrvHasher         = (*Store)(nil)
	_ store.DerivationLender  = (*Store)(nil)
	_ store.OutputQuerier     = (*Store)(nil)
	_ store.TextAdder         = (*Store)(nil)
	_ store.Adder             = (*Store)(nil)
	_ store.NARAdder          = (*Store)(nil)
	_ store.NARReader         = (*Store)(nil)
	_ store.Signer            = (*Store)(nil)
	_ store.SignatureKeeper   = (*Store)(nil)
	_ store.LogAdder          = (*Store)(nil)
	_ store.Ensurer           = (*Store)(nil)
	_ store.MultipleAdder     = (*Store)(nil)
	_ store.Sessioner         = (*Store)(nil)
	_ store.TempRooter        = (*Store)(nil)
	_ store.ManyTempRooter    = (*Store)(nil)
)

// Open opens a store. If it does not exist, Open makes an empty one, unless the options have ReadOnly or
// NoCreate: the error is a [*NoStoreError] then.
//
// On a full disk SQLite may be unable to open the database of a store. Open still succeeds then, so that
// [Store.CollectGarbage] can run, and every other call tries again to open the database.
//
// The error is a [*SchemaError] if the store is of another version of Nix, older or newer,
// than can be used here, a [*DatabaseError] if its database cannot be used, and else an
// [*fs.PathError] for what cannot be made or opened.
func Open(ctx context.Context, opts *Options) (*Store, error) {
	s := &shared{largeDrvs: make(chan struct{}, 1), auto: newAutoGC()}
	if opts != nil {
		s.opts = *opts
	}
	var err error
	if s.layout, err = openLayout(&s.opts); err != nil {
		return nil, err
	}
	// On a full disk a collection first gives up the reserved space, and opens the database after that.
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
	return s.user(false), nil
}

// user returns a Store with temporary roots of its own.
func (s *shared) user(session bool) *Store {
	u := &Store{shared: s, session: session}
	if !s.opts.ReadOnly {
		u.temp = temproots.Open(s.rootsState())
	}
	return u
}

// Session returns the same store, with temporary roots that end when the session is closed.
// Whatever is added through it is kept as long.
func (s *Store) Session(ctx context.Context) (store.Store, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	return s.user(true), nil
}

// open opens what is to be kept open. Nobody else uses s meanwhile; after an error it is as
// before.
func (s *shared) open(ctx context.Context) (err error) {
	if s.opts.ReadOnly || s.opts.NoCreate {
		if err := s.checkExists(); err != nil {
			return err
		}
	}
	var bigLock *os.File
	if !s.opts.ReadOnly {
		if err := s.makeDirs(); err != nil {
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

// database returns the open database. If it was deleted together with the store, a new one
// is made: the store is then empty.
func (s *shared) database(ctx context.Context, reading bool) (*database, error) {
	s.mu.RLock()
	db, closed := s.db, s.closed
	s.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if db != nil && !db.IsGone(reading) {
		return db, nil
	}
	return s.reopen(ctx, db)
}

// reopen replaces a database that was deleted, or opens one that could not be opened on a full disk.
func (s *shared) reopen(ctx context.Context, gone *database) (*database, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.db != gone: // somebody else was here first
		return s.db, nil
	case s.opts.ReadOnly && (!gone.IsStill() || !gone.HasSameFile()):
		return nil, &fs.PathError{Op: "read", Path: gone.File(), Err: errors.New("the database was deleted or replaced; open the store again")}
	}
	lock := s.bigLock
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if gone != nil { // and the reserved space with it
		gone.Close()
		if !s.opts.ReadOnly {
			lock.Close()
			s.reserveSpace()
		}
	}
	return s.db, nil
}

// read calls f with a connection to the database; see [nixdb.DB.Read].
func (s *shared) read(ctx context.Context, f func(c *conn) error) error {
	db, err := s.database(ctx, true)
	if err != nil {
		return err
	}
	return db.read(ctx, f)
}

// write calls f within a transaction; see [nixdb.DB.Write].
func (s *shared) write(ctx context.Context, f func(c *conn) error) error {
	db, err := s.database(ctx, false)
	if err != nil {
		return err
	}
	return db.write(ctx, f)
}

// writeDurably is write, but returns when the transaction is on the disk.
func (s *shared) writeDurably(ctx context.Context, f func(c *conn) error) error {
	db, err := s.database(ctx, false)
	if err != nil {
		return err
	}
	return db.writeDurably(ctx, f)
}

// Close lets go of the store, or of the session. Calls under way may still succeed; later ones are [ErrClosed].
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

// Dir returns the store directory, as paths name it.
func (s *Store) Dir() storepath.Dir { return s.dir }
