//go:build unix

package localstore

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The ways in which a file is locked: by one, or by all who only want that nobody is the one.
// It is the lock of flock(2), as in Nix's src/libstore/unix/pathlocks.cc. It belongs to the
// open file, so goroutines that open the file themselves exclude each other too.
const (
	lockShared    = unix.LOCK_SH
	lockExclusive = unix.LOCK_EX
)

// openLockFile opens a file that serves as a lock, and makes it if it is not there.
func openLockFile(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

// tryLock locks a file, or reports that somebody else has it locked.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// lock locks a file, and waits for whoever has it locked. It asks again and again, because
// a wait in the kernel could not be cancelled.
func lock(ctx context.Context, f *os.File, how int) error {
	const longest = 20 * time.Millisecond
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		if locked, err := tryLock(f, how); locked || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// unlock gives a lock back before the file is closed.
func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
