package nixdb

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves disk space for a file of this size in bytes.
func allocate(f *os.File, size int64) (err error) {
	for range 100 { // a signal of the runtime may interrupt the system call
		if err = unix.Fallocate(int(f.Fd()), 0, 0, size); err != unix.EINTR {
			break
		}
	}
	return err
}
