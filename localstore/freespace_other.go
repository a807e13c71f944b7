//go:build !linux

package localstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace returns how many bytes of the disk of a directory are free for everybody.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}
