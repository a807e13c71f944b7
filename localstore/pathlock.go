package localstore

import (
	"context"
	"errors"
	"os"
	"strings"

	"pix/storepath"
)

// A pathLock is the lock that whoever makes the object of a path has meanwhile: PATH.lock
// beside it. See src/libstore/unix/pathlocks.cc in Nix.
//
// The file is deleted with the lock. Somebody may be waiting for it by then, so that they get
// the lock of a file that is no longer there; they find a byte in it, and begin again.
type pathLock struct{ file *os.File }

// stale is what is written into a lock file that is deleted.
const stale = "d"

// lockPath waits until nobody else makes the object of path.
func (s *shared) lockPath(ctx context.Context, path storepath.Path) (*pathLock, error) {
	for {
		f, err := s.openPathLock(path)
		if err != nil {
			return nil, err
		}
		if err := lock(ctx, f, lockExclusive, nil); err != nil {
			f.Close()
			return nil, err
		}
		if l, err := keepIfFresh(f); l != nil || err != nil {
			return l, err
		}
	}
}

// tryLockPath is lockPath for those who cannot wait. It returns nil if somebody else makes the
// object of path.
func (s *shared) tryLockPath(path storepath.Path) (*pathLock, error) {
	for {
		f, err := s.openPathLock(path)
		if err != nil {
			return nil, err
		}
		if locked, err := tryLock(f, lockExclusive); err != nil || !locked {
			f.Close()
			return nil, err
		}
		if l, err := keepIfFresh(f); l != nil || err != nil {
			return l, err
		}
	}
}

func (s *shared) openPathLock(path storepath.Path) (*os.File, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	return openLockFile(s.object(path) + ".lock")
}

// keepIfFresh returns a lock on a file that was just locked, or closes the file and returns
// nil if it is stale.
func keepIfFresh(f *os.File) (*pathLock, error) {
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		return &pathLock{f}, nil
	}
	f.Close()
	return nil, err
}

// mustHold returns an error if the store was removed since the lock was taken: what was made under it is
// gone, and in a store that has taken its place somebody else may have a lock of the same name.
func (l *pathLock) mustHold() error {
	linked, err := isLinked(l.file)
	if err == nil && !linked {
		err = &os.PathError{Op: "add", Path: strings.TrimSuffix(l.file.Name(), ".lock"), Err: errors.New("the store was removed meanwhile")}
	}
	return err
}

// release gives the lock back. That the file is deleted is for tidiness alone, so it is no
// error if it cannot be.
func (l *pathLock) release() {
	if l.mustHold() == nil {
		os.Remove(l.file.Name())
	}
	l.file.WriteString(stale)
	l.file.Close()
}
