package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/nar"
)

// errNoSendfile says that the system cannot send from this file to this connection.
var errNoSendfile = errors.New("sendfile is not supported there")

// sendFile sends at most n bytes of a file, from the offset on, and returns how many it were:
// 0 at the end of the file. The kernel gives the client the pages of its cache, where it would
// otherwise copy them twice.
func sendFile(nc net.Conn, f nar.File, offset int64, n int) (sent int, err error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0, errNoSendfile
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, errNoSendfile
	}
	waiting := raw.Write(func(fd uintptr) bool {
		for {
			sent, err = unix.Sendfile(int(fd), int(f.Fd()), &offset, n)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	switch {
	case waiting != nil:
		return 0, waiting
	case err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP:
		return 0, errNoSendfile
	case err != nil:
		return 0, &net.OpError{Op: "sendfile", Net: nc.LocalAddr().Network(), Err: err}
	}
	return sent, nil
}
