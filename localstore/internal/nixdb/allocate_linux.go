package nixdb

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate sets aside disk for a file of that size in bytes.
func allocate(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }
