//go:build unix

package server

import (
	"os"

	"golang.org/x/sys/unix"
)

// pollable returns a duplicate of a file which does not block, so that the runtime can wait
// for it and be interrupted. Whether a file blocks is a matter of all its duplicates, so
// that is put back in the end.
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
