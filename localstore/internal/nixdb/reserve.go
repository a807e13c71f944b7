package nixdb

import (
	"os"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/regular"
)

// Reserve makes a file of that size in bytes, which keeps some disk free. If there is no room, the file stays as it
// is: a store can do without.
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
