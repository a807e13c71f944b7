package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// PeerOf returns who is at the other end. The error is [errors.ErrUnsupported] where that
// cannot be known: the connection is no Unix socket, or the system does not tell.
func PeerOf(nc net.Conn) (*Peer, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("asking who is at the other end of a %T: %w", nc, errors.ErrUnsupported)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		var family int
		if family, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); failed == nil && family != unix.AF_UNIX {
			failed = errors.ErrUnsupported
		}
		if failed == nil {
			cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("asking who is at the other end: %w", err)
	}
	return &Peer{UID: cred.Uid, GID: cred.Gid, PID: int(cred.Pid)}, nil
}
