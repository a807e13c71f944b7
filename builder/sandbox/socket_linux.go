package sandbox

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// socketPair returns two connected sockets of a type, unix.SOCK_STREAM or unix.SOCK_SEQPACKET. They support deadlines.
func socketPair(typ int) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// sendFiles sends a message with descriptors on a SOCK_SEQPACKET socket.
func sendFiles(socket *os.File, data []byte, files ...*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fd, err := descriptor(f)
		if err != nil {
			return err
		}
		fds[i] = fd
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	writeErr := conn.Write(func(fd uintptr) bool {
		for {
			err = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	return errors.Join(writeErr, err)
}

// receiveFiles receives a message of at most size bytes with at most n descriptors. It returns io.EOF if the other
// side closed its socket.
func receiveFiles(socket *os.File, size, n int) ([]byte, []*os.File, error) {
	conn, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	data, rights := make([]byte, size), make([]byte, unix.CmsgSpace(4*n))
	var dataLen, rightsLen int
	readErr := conn.Read(func(fd uintptr) bool {
		for {
			dataLen, rightsLen, _, _, err = unix.Recvmsg(int(fd), data, rights, unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if err := errors.Join(readErr, err); err != nil {
		return nil, nil, err
	}
	files, err := parseRights(rights[:rightsLen])
	if err == nil && dataLen == 0 {
		closeFiles(files)
		return nil, nil, io.EOF
	}
	return data[:dataLen], files, err
}

// parseRights returns the files of a control message.
func parseRights(control []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// descriptor returns the number of a file's descriptor. Unlike Fd, it leaves the descriptor in non-blocking mode.
func descriptor(f *os.File) (fd int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = conn.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// shutdown closes the sending direction of a socket.
func shutdown(socket *os.File) error {
	fd, err := descriptor(socket)
	if err != nil {
		return err
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(fd, unix.SHUT_WR))
}
