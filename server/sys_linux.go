package server

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"pix/internal/unsupported"
	"pix/nar"
)

// PeerOf returns the process at the other end of a Unix socket. For other connections the error
// is [errors.ErrUnsupported].
func PeerOf(nc net.Conn) (*Peer, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, unsupported.Errorf("cannot identify the peer of a %T", nc)
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
		return nil, fmt.Errorf("identifying the peer: %w", err)
	}
	return &Peer{UID: cred.Uid, GID: cred.Gid, PID: int(cred.Pid)}, nil
}

// errNoSendfile means that the system cannot send from this file to this connection.
var errNoSendfile = errors.New("sendfile is not supported for this file or connection")

// sendFile sends at most n bytes of a file, from offset on. It returns the number of bytes
// sent, which is 0 at the end of the file. The kernel sends directly from its page cache, which
// avoids copying the data twice.
func sendFile(nc net.Conn, f nar.File, offset int64, n int) (sent int, err error) {
	raw := rawSocket(nc)
	if raw == nil {
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

// maxSocketPath is the largest length in bytes of a path in sockaddr_un.
const maxSocketPath = 107

// shortName returns a name for the path that is short enough for the address of a socket. If
// the path is too long, the name refers to a descriptor of its directory. It is valid until
// release is called. The last element of the path must be short enough.
func shortName(path string) (name string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, base := filepath.Split(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	name = fmt.Sprintf("/proc/self/fd/%d/%s", fd, base)
	if len(name) > maxSocketPath { // no client could connect to it
		unix.Close(fd)
		return "", nil, fmt.Errorf("the name '%s' is too long for a socket", base)
	}
	return name, func() { unix.Close(fd) }, nil
}
