//go:build !linux

package removetree

import "golang.org/x/sys/unix"

// OpenDir opens a directory by its name in another one.
func OpenDir(parent int, name string) (fd int, err error) {
	return unix.Openat(parent, name, openFlags, 0)
}

// ChmodDir changes the mode of a directory, by its name in another one. It does not follow a symlink.
func ChmodDir(parent int, name string, mode uint32) error {
	return unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}
