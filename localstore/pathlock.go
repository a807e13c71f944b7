package localstore

import (
	"context"
	"errors"
	"os"
	"strings"

	"pix/localstore/internal/flock"
	"pix/storepath"
)

// A pathLock is the lock that whoever makes the object of a path has meanwhile: PATH.lock
// beside it. See src/libstore/unix/pathlocks.cc in Nix.
//
// The file loses its name with the lock. Somebody may be waiting for it by then, so that they get
// the lock of a file that is no longer there; they find a byte in it, and begin again.
type pathLock struct {
	file   *flock.File
	name   string
	spares *spareLocks // that the file is one of, or nil
}

// lockPath waits until nobody else makes the object of path.
func (s *shared) lockPath(ctx context.Context, path storepath.Path) (*pathLock, error) {
	return s.lockPathBy(path, func(f *os.File) (bool, error) {
		err := flock.Lock(ctx, f, flock.Exclusive, nil)
		return err == nil, err
	})
}

// tryLockPath is lockPath for those who cannot wait. It returns nil if somebody else makes the
// object of path.
func (s *shared) tryLockPath(path storepath.Path) (*pathLock, error) {
	return s.lockPathBy(path, func(f *os.File) (bool, error) { return flock.Try(f, flock.Exclusive) })
}

// lockPathBy is lockPath, with how to lock a file. It returns nil if that was not locked.
func (s *shared) lockPathBy(path storepath.Path, lock func(*os.File) (bool, error)) (*pathLock, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	name := s.object(path) + ".lock"
	for {
		if f := s.spareLocks.lock(name); f != nil {
			return &pathLock{f, name, &s.spareLocks}, nil
		}
		f, err := inStoreDir(s, func() (*flock.File, error) { return flock.Open(name) })
		if err != nil {
			return nil, err
		}
		locked, fresh := false, false
		if locked, err = lock(f.File); locked {
			fresh, err = f.IsEmpty()
		}
		if fresh {
			return &pathLock{f, name, nil}, nil
		}
		f.Close()
		if !locked || err != nil {
			return nil, err
		}
	}
}

// mustHold returns an error if the store was removed since the lock was taken: what was made under it is
// gone, and in a store that has taken its place somebody else may have a lock of the same name.
func (l *pathLock) mustHold() error {
	linked, err := l.file.IsLinkedAs(l.name)
	if err == nil && !linked {
		err = &os.PathError{Op: "add", Path: strings.TrimSuffix(l.name, ".lock"), Err: errors.New("the store was removed meanwhile")}
	}
	return err
}

// release gives the lock back. That the file loses its name is for tidiness alone, so it is no
// error if it cannot.
func (l *pathLock) release() {
	removed := l.mustHold() == nil && os.Remove(l.name) == nil
	if l.spares != nil {
		l.spares.release(l.file, !removed)
		return
	}
	l.file.Retire()
}
