package builder

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// peerUser returns the user of the process at the other end of a connection, as the kernel reports it.
func peerUser(nc *net.UnixConn) (uid int64, err error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || credErr != nil {
		return 0, errors.Join(err, credErr)
	}
	return int64(cred.Uid), nil
}
