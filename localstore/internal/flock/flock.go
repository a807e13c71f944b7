// Package flock locks files as Nix does, with flock(2).
//
// A lock belongs to the open file description. It ends when that is closed, also when the process is
// killed. Two open files of one process can lock each other out.
//
// A shared lock is never converted to an exclusive one here, nor the other way round: the kernel
// releases the old lock before it grants the new one, and another process can take the lock in
// between.
package flock

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Mode says whether others can have a lock at the same time.
type Mode int

const (
	Shared    Mode = unix.LOCK_SH // others can have shared locks
	Exclusive Mode = unix.LOCK_EX // others can have none
)

// Try locks f. It reports false if a lock of another open file is in the way.
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

// Lock waits until it has locked f, or returns the cause of ctx when that is done first. It polls:
// a context cannot interrupt a flock(2) that waits. If Lock has to wait, it calls waiting once,
// unless that is nil.
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

// Unlock releases the lock of f, which stays open.
func Unlock(f *os.File) error {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return &os.PathError{Op: "unlock", Path: f.Name(), Err: err}
	}
	return nil
}

// Sleep waits for d, or returns the cause of ctx when that is done first.
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
