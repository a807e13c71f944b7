package pathlock

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"pix/internal/flock"
)

// suffix is the suffix of a lock file, after the name of the object.
const suffix = ".lock"

// Locks are the path locks of one store. Several goroutines may use them.
type Locks struct {
	spares spares
	budget *Budget
}

// New returns the locks of a store. The budget limits how many are held at the same time. Lock files for reuse are kept
// in spareDir, which need not exist.
func New(spareDir string, b *Budget) *Locks {
	return &Locks{spares: spares{dir: spareDir, most: min(MaxSpares, cap(b.slots)/4)}, budget: b}
}

// Close deletes the files that are kept for reuse. Held locks stay valid.
func (l *Locks) Close() { l.spares.close() }

// A Lock is a held lock of a path.
type Lock struct {
	locks *Locks
	file  *flock.File
	name  string
	spare bool // the file is one of locks.spares
	lent  bool // see Lend
}

// reportAfter is how long Lock waits before it calls waiting.
var reportAfter = time.Second

// Lock waits until it holds the lock of an object. If it waits longer than a second, it calls waiting once. The caller
// must hold no other lock, because two processes could deadlock.
func (l *Locks) Lock(ctx context.Context, object string, waiting func()) (*Lock, error) {
	if err := l.budget.acquire(ctx); err != nil {
		return nil, err
	}
	lock, err := l.open(object+suffix, func(f *os.File) (bool, error) {
		soon, cancel := context.WithTimeoutCause(ctx, reportAfter, errStillHeld)
		err := flock.Lock(soon, f, flock.Exclusive, nil)
		cancel()
		if errors.Is(err, errStillHeld) && ctx.Err() == nil {
			if waiting != nil {
				waiting()
				waiting = nil
			}
			err = flock.Lock(ctx, f, flock.Exclusive, nil)
		}
		return err == nil, err
	})
	if err != nil {
		l.budget.release()
	}
	return lock, err
}

var errStillHeld = errors.New("another process holds the lock")

// Try returns the lock of an object. It returns nil if another process holds the lock, or if too many locks are held or
// files are open. The caller may hold other locks.
func (l *Locks) Try(object string) (*Lock, error) {
	if !l.budget.try() {
		return nil, nil
	}
	lock, err := l.open(object+suffix, func(f *os.File) (bool, error) { return flock.Try(f, flock.Exclusive) })
	if lock == nil {
		l.budget.release()
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		err = nil
	}
	return lock, err
}

// open opens a lock file and calls lock with it, until the file is locked and has its name. It returns nil if lock
// reports false.
func (l *Locks) open(name string, lock func(*os.File) (bool, error)) (*Lock, error) {
	for {
		if f := l.spares.lock(name); f != nil {
			return &Lock{locks: l, file: f, name: name, spare: true}, nil
		}
		f, err := flock.Open(name)
		if err != nil {
			return nil, err
		}
		locked, fresh := false, false
		if locked, err = lock(f.File); locked {
			fresh, err = f.IsEmpty()
		}
		if fresh {
			return &Lock{locks: l, file: f, name: name}, nil
		}
		if locked && err == nil {
			err = removeMarked(f, name)
		}
		f.Close()
		if !locked || err != nil {
			return nil, err
		}
	}
}

// removeMarked deletes a lock file that has the stale mark and still its name. Either a power cut has undone the
// deletion of the name, or the name could not be deleted. Without removeMarked, every process that wants the lock would
// try for ever. The caller has locked the file, so no other process uses it.
func removeMarked(f *flock.File, name string) error {
	linked, err := f.IsLinkedAs(name)
	if err != nil || !linked {
		return err
	}
	return os.Remove(name)
}

// Check returns an error if the store was deleted after the lock was taken. An object that was created under the lock
// is gone then. If another store has the same name now, another process may hold the same lock in it.
func (l *Lock) Check() error {
	linked, err := l.file.IsLinkedAs(l.name)
	if err == nil && !linked {
		err = &fs.PathError{Op: "add", Path: strings.TrimSuffix(l.name, suffix), Err: errors.New("the store was removed meanwhile")}
	}
	return err
}

// File returns the open lock file. The lock lasts until the last copy of its descriptor is closed.
func (l *Lock) File() *os.File { return l.file.File }

// Holds reports whether the lock is the one of an object.
func (l *Lock) Holds(object string) bool { return l.name == object+suffix }

// Lend returns the lock for a callee that would otherwise wait for it. The lock stays held when the callee releases it.
func (l *Lock) Lend() *Lock {
	lent := *l
	lent.lent = true
	return &lent
}

// Release releases the lock. It ignores an error of deleting the lock file, because a remaining file does no harm.
func (l *Lock) Release() {
	if l.lent {
		return
	}
	removed := l.Check() == nil && os.Remove(l.name) == nil
	if l.spare {
		l.locks.spares.release(l.file, !removed)
	} else {
		l.file.Retire()
	}
	l.locks.budget.release()
}
