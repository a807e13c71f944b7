package localstore

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
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
}

// An outputLocks is the locks of the outputs of a build.
type outputLocks struct {
	locks []*pathlock.Lock
	roots temproots.Held
}

// Check returns an error if the locks were lost because the store was removed, or if a collector may have deleted what
// has one of the names.
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

// LockObjects takes the locks of objects, all or none. A name is the base name of a store path. For an output whose path is not
// known, it is the base name of the derivation, a dot, and the name of the output. Nix's lock files have these names, with ".lock".
// The names that are store paths become temporary roots.
//
// While another process holds one of the locks, LockObjects reports an activity of type [activity.BuildWaiting], and waits
// without holding any other. Nix waits in the same way, so builds with the same outputs take part in no deadlock.
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
	var first *pathlock.Lock // the lock that the last attempt has waited for
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

// TryLockObjects is LockObjects, but returns nil if another process holds one of the locks. The caller may hold
// others.
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

// rootNames checks the names of locks, sorts them, and makes temporary roots of those that are store paths. The lock file of
// an output without a path is safe from collectors as long as the derivation is a root.
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

// tryLocks takes the locks of names, or none and returns the first name whose lock is not free. The lock of the name had is
// held already, unless that is nil.
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

// lockNames spells the names of locks as Nix does.
func (s *Store) lockNames(names []string) string {
	files := make([]string, len(names))
	for i, name := range names {
		files[i] = "'" + filepath.Join(s.storeName, name) + "'"
	}
	return strings.Join(files, ", ")
}

// pause waits for a random time. Two processes that each hold the lock that the other one lacks could otherwise give up
// and try again in step.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))):
		return nil
	}
}
