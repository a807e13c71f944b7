//go:build unix

package monitor

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasHungUp reports whether the other end is closed completely. After a half-close it can still
// read.
func hasHungUp(nc net.Conn) (hungUp bool) {
	raw := rawSocket(nc)
	if raw == nil {
		return true
	}
	err := raw.Control(func(fd uintptr) { hungUp = pollHangUp(fd) })
	return hungUp || err != nil
}

// waitHangUp waits until the other end is closed completely. It returns false if nc is closed
// before.
func waitHangUp(nc net.Conn) bool {
	raw := rawSocket(nc)
	return raw != nil && raw.Read(pollHangUp) == nil
}

func pollHangUp(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

func rawSocket(nc net.Conn) syscall.RawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
