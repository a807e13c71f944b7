package localstore

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pix/activity"
	"pix/localstore/internal/pathlock"
	"pix/localstore/internal/temproots"
	"pix/storepath"
)

// heldLocks is the type builder.Locks.
type heldLocks = interface {
	Check() error
	Release()
	File() *os.File
}

// outputLocks are the locks of the outputs of a build.
type outputLocks struct {
	locks []*pathlock.Lock
	roots temproots.Held
}

// Check returns an error if the locks were lost because the store was removed, or if a collector may have deleted an
// object with one of the names.
func (l *outputLocks) Check() error {
	for _, lock := range l.locks {
		if err := lock.Check(); err != nil {
			return err
		}
	}
	return l.roots.Check()
}

// Release releases the locks.
func (l *outputLocks) Release() {
	for _, lock := range l.locks {
		lock.Release()
	}
	l.locks = nil
}

// File returns the open lock file of one object, or nil without locks.
func (l *outputLocks) File() *os.File {
	if len(l.locks) == 0 {
		return nil
	}
	return l.locks[0].File()
}

// LockObjects takes the locks of objects, all or none. A name is the base name of a store path. For an output whose path is not
// known, it is the base name of the derivation, a dot, and the name of the output. Nix's lock files have these names, with ".lock".
// The names that are store paths become temporary roots.
//
// While another process holds one of the locks, LockObjects reports an activity of type [activity.BuildWaiting], and
// waits without holding any other. Nix waits in the same way, so builds with the same outputs cannot deadlock.
func (s *Store) LockObjects(ctx context.Context, names ...string) (heldLocks, error) {
	names, roots, err := s.rootNames(ctx, names)
	if err != nil {
		return nil, err
	}
	var waiting *task
	defer func() {
		if waiting != nil {
			waiting.stop()
		}
	}()
	var first *pathlock.Lock // the lock for which the last attempt has waited
	firstName := ""
	for {
		locks, missed, err := s.tryLocks(names, firstName, first)
		if err != nil {
			return nil, err
		}
		if missed == "" {
			return &outputLocks{locks, roots}, nil
		}
		if waiting == nil {
			t := startTask(ctx, activity.LevelWarn, activity.BuildWaiting, "waiting for lock on "+s.lockNames(names))
			waiting = &t
		} else if err := pause(ctx); err != nil {
			return nil, err
		}
		if first, err = s.locks.Lock(ctx, filepath.Join(s.storeDir, missed), nil); err != nil {
			return nil, err
		}
		firstName = missed
	}
}

// TryLockObjects is like LockObjects, but returns nil if another process holds one of the locks. The caller may hold
// other locks.
func (s *Store) TryLockObjects(ctx context.Context, names ...string) (heldLocks, error) {
	names, roots, err := s.rootNames(ctx, names)
	if err != nil {
		return nil, err
	}
	locks, missed, err := s.tryLocks(names, "", nil)
	if err != nil || missed != "" {
		return nil, err
	}
	return &outputLocks{locks, roots}, nil
}

// WithLocks returns a context with locks of LockObjects. Calls with this context add the objects whose locks these are, instead of
// waiting for the locks. The caller releases the locks after these calls.
func (s *Store) WithLocks(ctx context.Context, locks heldLocks) context.Context {
	return context.WithValue(ctx, locksKey{}, locks)
}

// locksKey is the key of the locks in a context.
type locksKey struct{}

// heldLock returns the lock of an object that the caller of a method holds, or nil.
func heldLock(ctx context.Context, object string) *pathlock.Lock {
	held, ok := ctx.Value(locksKey{}).(*outputLocks)
	if !ok {
		return nil
	}
	for _, lock := range held.locks {
		if lock.Holds(object) {
			return lock
		}
	}
	return nil
}

// rootNames checks and sorts the names of locks, and adds temporary roots for those that are store paths. The lock
// file of an output without a path is safe from collectors while the derivation is a root.
func (s *Store) rootNames(ctx context.Context, names []string) ([]string, temproots.Held, error) {
	var held temproots.Held
	if s.opts.ReadOnly {
		return nil, held, ErrReadOnly
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if most := lockBudget().Size(); len(names) > most {
		return nil, held, fmt.Errorf("cannot lock %d outputs at once: the limit of open files allows %d", len(names), most)
	}
	var paths []storepath.Path
	for _, name := range names {
		if !isBaseName(name) {
			return nil, held, &fs.PathError{Op: "lock", Path: name, Err: errNoLockName}
		}
		if p, err := s.dir.ParseBase(name); err == nil {
			paths = append(paths, p)
		}
	}
	held, err := s.addTempRoots(ctx, paths...)
	return names, held, err
}

// tryLocks takes the locks of all names. If one is not free, it takes none, and returns the first such name. had is
// nil, or the lock of hadName, which the caller holds already.
func (s *Store) tryLocks(names []string, hadName string, had *pathlock.Lock) (locks []*pathlock.Lock, missed string, err error) {
	held := &outputLocks{}
	if had != nil {
		held.locks = append(held.locks, had)
	}
	for _, name := range names {
		if had != nil && name == hadName {
			continue
		}
		lock, err := inStoreDir(s.shared, func() (*pathlock.Lock, error) {
			return s.locks.Try(filepath.Join(s.storeDir, name))
		})
		if err != nil || lock == nil {
			held.Release()
			if err == nil {
				missed = name
			}
			return nil, missed, err
		}
		held.locks = append(held.locks, lock)
	}
	return held.locks, "", nil
}

// lockNames returns the names of locks as in the messages of Nix.
func (s *Store) lockNames(names []string) string {
	files := make([]string, len(names))
	for i, name := range names {
		files[i] = "'" + filepath.Join(s.storeName, name) + "'"
	}
	return strings.Join(files, ", ")
}

// pause waits for a random time. Otherwise two processes, each with a lock that the other one needs, could release
// their locks and try again at the same times.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))):
		return nil
	}
}
