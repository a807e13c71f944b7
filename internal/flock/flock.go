// Package flock locks files as Nix does, with flock(2).
//
// A lock belongs to the open file description. It ends when the description is closed, and also when the process is
// killed. Two open files of one process can exclude each other.
//
// This package never converts a shared lock to an exclusive one, or the reverse: the kernel releases the old lock
// before it grants the new one, and another process can take the lock in between.
package flock

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Mode says whether other processes can hold a lock at the same time.
type Mode int

const (
	Shared    Mode = unix.LOCK_SH // others can hold shared locks
	Exclusive Mode = unix.LOCK_EX // others can hold no lock
)

// Try locks f. It reports false if another open file holds a conflicting lock.
func Try(f *os.File, mode Mode) (bool, error) {
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

// Lock waits until it has locked f, or returns the cause of ctx when ctx is done. It polls, because a context cannot
// interrupt flock(2). If it has to wait and waiting is not nil, it calls waiting once.
func Lock(ctx context.Context, f *os.File, mode Mode, waiting func()) error {
	for delay := time.Millisecond; ; delay = min(2*delay, 50*time.Millisecond) {
		ok, err := Try(f, mode)
		if ok || err != nil {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		if err := Sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// Unlock releases the lock of f. It does not close f.
func Unlock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return &os.PathError{Op: "unlock", Path: f.Name(), Err: err}
	}
	return nil
}

// Sleep waits for d, or returns the cause of ctx when ctx is done.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
