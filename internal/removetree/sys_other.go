//go:build !linux

package removetree

import "golang.org/x/sys/unix"

// openHere opens a directory by its name in another one.
func openHere(parent int, name string) (fd int, err error) {
	return unix.Openat(parent, name, openFlags, 0)
}

// chmod changes the mode of a directory, by its name in another one. It follows no symlink.
func chmod(parent int, name string, mode uint32) error {
	return unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}
