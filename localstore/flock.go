package localstore

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A lockMode is how a file is locked. Nix locks with flock(2), so a lock belongs to the open
// file and ends with it, whatever becomes of the process.
type lockMode int

const (
	lockShared    lockMode = unix.LOCK_SH
	lockExclusive lockMode = unix.LOCK_EX
)

// tryLock locks f, or reports false if another open file has a lock that is in the way.
func tryLock(f *os.File, mode lockMode) (bool, error) {
	for {
		switch err := unix.Flock(int(f.Fd()), int(mode)|unix.LOCK_NB); err {
		case nil:
			return true, nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

// lock waits until it can lock f, or ctx is done. It asks again and again: a flock(2) that waits
// cannot be interrupted for one context alone. waiting, if it is not nil, is called once before.
func lock(ctx context.Context, f *os.File, mode lockMode, waiting func()) error {
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		ok, err := tryLock(f, mode)
		if ok || err != nil {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// A lockFile is an open file that serves as a lock, and which file that is: somebody may delete
// it, and make another of the same name.
type lockFile struct {
	*os.File
	device, inode uint64
}

// openLockFile opens a file that serves as a lock, and makes it if it is not there.
func openLockFile(name string) (*lockFile, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return newLockFile(f)
}

// newLockFile is for a file that was opened elsewhere. It is closed after an error.
func newLockFile(f *os.File) (*lockFile, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(&os.PathError{Op: "stat", Path: f.Name(), Err: err}, f.Close())
	}
	return &lockFile{f, uint64(st.Dev), st.Ino}, nil
}

// isLinked reports whether the file still has its name. It has not when somebody deleted it.
func (f *lockFile) isLinked() (bool, error) { return f.isLinkedAs(f.Name()) }

// isLinkedAs reports whether the file has that name.
func (f *lockFile) isLinkedAs(name string) (bool, error) {
	st, err := lstat(name)
	if err != nil {
		return false, ignoreMissing(err)
	}
	return uint64(st.Dev) == f.device && st.Ino == f.inode, nil
}

// isEmpty reports whether nobody has marked the file as stale.
func (f *lockFile) isEmpty() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Size == 0, nil
}

// staleMark is what is written into a lock file that is deleted: who has opened it meanwhile sees by it
// that it is not there any more.
const staleMark = "d"

// retire closes a lock file that has lost its name, and lets those go on who wait for it.
func (f *lockFile) retire() {
	f.WriteString(staleMark)
	f.Close()
}

// unlock gives a lock back that the file keeps no longer.
func unlock(f *lockFile) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return &os.PathError{Op: "unlock", Path: f.Name(), Err: err}
	}
	return nil
}

// sleep waits, or returns the error of ctx when that is done first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
