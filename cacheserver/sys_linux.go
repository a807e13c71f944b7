package cacheserver

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves disk space for size bytes, without changing the size of the file.
func allocate(f *os.File, size int64) (err error) {
	for range 100 { // a signal of the runtime may interrupt the system call
		if err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size); err != unix.EINTR {
			break
		}
	}
	return err
}
