//go:build !linux

package localstore

import "golang.org/x/sys/unix"

// openDirHere opens a directory by its name in another one.
func openDirHere(parent int, name string) (fd int, err error) {
	return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// chmodDir changes the mode of a directory, by its name in another one. It follows no symlink.
func chmodDir(parent int, name string, mode uint32) error {
	return unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}
