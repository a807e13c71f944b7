//go:build unix

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockTimeout is how long ListenUnix waits for another process that is about to listen.
const lockTimeout = 10 * time.Second

// lockSocket takes a lock that keeps other processes from making the socket at path at the same
// time. It locks a file of its own that other users cannot open. It does not lock the directory,
// because every user who can read the directory can lock it, and block this process.
//
// unlock removes the file. Another process may have opened it before, and lock it afterwards, while a
// third process makes and locks a new file. So lockSocket checks after the lock that the file still
// has its name.
func lockSocket(path string) (unlock func(), err error) {
	dir, base := filepath.Split(path)
	name := filepath.Join(dir, "."+base+".lock")
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(5 * time.Millisecond) {
		f, err := tryLock(name)
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", name, err)
		}
		if f != nil {
			return func() {
				os.Remove(name)
				f.Close()
			}, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("another process has locked %s for %v", name, lockTimeout)
		}
	}
}

// tryLock returns the locked file with that name, or nil if another process has it.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := lockOwn(f, name)
	if !locked || err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockOwn locks a file that must belong to this user alone. It reports whether it got the lock and the
// file still has its name.
func lockOwn(f *os.File, name string) (bool, error) {
	var own, now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &own); err != nil {
		return false, err
	}
	if own.Mode&unix.S_IFMT != unix.S_IFREG || own.Mode&0o077 != 0 || int(own.Uid) != os.Geteuid() {
		return false, errors.New("other users can open or replace that file; remove it, or choose another path")
	}
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK || err == unix.EINTR {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = unix.Lstat(name, &now)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && now.Dev == own.Dev && now.Ino == own.Ino, err
}
