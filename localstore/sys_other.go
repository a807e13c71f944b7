//go:build !linux

package localstore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace returns how many bytes an unprivileged user can still write to the file system of a directory.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

func isReadOnlyMount(string) bool { return false }

func cloneWritable(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func fdName(f *os.File) string { return f.Name() }
