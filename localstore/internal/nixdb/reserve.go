package nixdb

import (
	"os"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/regular"
)

// Reserve creates a file of this size in bytes, which reserves disk space. If the disk is full, the file stays as it
// is.
func Reserve(name string, size int64) {
	if info, err := os.Stat(name); err == nil && info.Size() == size {
		return
	}
	f, err := regular.Open(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW)
	if err != nil {
		return
	}
	defer f.Close()
	if size == 0 || allocate(f, size) == nil {
		f.Truncate(size)
	}
}
