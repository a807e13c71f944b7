package nixdb

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate reserves disk space for a file of this size in bytes.
func allocate(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }
