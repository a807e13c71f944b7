//go:build unix

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitReadable waits until a read from a socket would not block, or fails. It does nothing for
// other connections.
func waitReadable(nc net.Conn) {
	raw := rawSocket(nc)
	if raw == nil {
		return
	}
	var one [1]byte
	raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	})
}

// hasHungUp reports whether the client cannot read any more. If that is unknown for this
// connection, ok is false. A client that has only closed its writing end can still read. On TCP
// this looks like a hang-up until something is written. Then a write to a client that is gone
// fails.
func hasHungUp(nc net.Conn) (hungUp, ok bool) {
	var raw syscall.RawConn
	if s, isStdio := nc.(*stdio); isStdio {
		var err error
		if raw, err = s.out.SyscallConn(); err != nil {
			return true, errors.Is(err, net.ErrClosed)
		}
	} else if raw = rawSocket(nc); raw == nil {
		return false, false
	}
	err := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		hungUp = err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return hungUp || err != nil, true
}

// maxFiles returns the number of files that the process may open, or 0 if it is unknown.
func maxFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur)
}

// lockTimeout limits the wait for another process that is about to listen.
const lockTimeout = 10 * time.Second

// lockSocket takes a lock that keeps other processes from creating the socket at path at the same
// time. It creates and locks a file that other users cannot open. It does not lock the directory:
// every user who can read the directory could lock it, and block this process.
//
// unlock removes the file. Another process may have opened it before, and lock it afterwards, while a
// third process creates and locks a new file. So lockSocket checks after locking that the name still
// refers to the file.
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

// tryLock returns the locked file with this name, or nil if another process has locked it.
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

// lockOwn locks a file that must belong to this user alone. It reports whether the file is
// locked and the name still refers to it.
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

// pollable returns a non-blocking duplicate of a file, so that the runtime can interrupt a wait
// for it. All duplicates of a file share the blocking mode, so restore resets it.
func pollable(f *os.File) (*stream, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd, flags int
	var failed error
	err = raw.Control(func(orig uintptr) {
		if flags, failed = unix.FcntlInt(orig, unix.F_GETFL, 0); failed == nil {
			fd, failed = unix.FcntlInt(orig, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	restore := func() {}
	if flags&unix.O_NONBLOCK == 0 {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("fcntl", err)
		}
		restore = func() {
			raw.Control(func(orig uintptr) { unix.SetNonblock(int(orig), false) })
		}
	}
	return &stream{os.NewFile(uintptr(fd), f.Name()), restore}, nil
}

// rawSocket returns the socket of a connection, or nil. It returns nil for types that may do
// more than read and write, such as encrypt.
func rawSocket(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.UnixConn:
		sc = nc
	case *net.TCPConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
