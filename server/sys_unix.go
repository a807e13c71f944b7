//go:build unix

package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitReadable waits until a read from a socket would not wait, or fails. For other connections
// it does nothing.
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

// hasHungUp reports whether the client can read nothing any more. ok is false if that cannot be
// known of this connection. A client that has only closed its writing end still reads. On TCP
// both look the same until something is written; then a client that has gone is noticed.
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

// maxFiles returns how many files the process may open, or 0 if that is not known.
func maxFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur)
}
