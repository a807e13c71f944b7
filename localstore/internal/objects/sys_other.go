//go:build !linux

package objects

import "golang.org/x/sys/unix"

// openDir opens a directory by its name in another one.
func openDir(parent int, name string) (fd int, err error) {
	return unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// chmodDir changes the mode of a directory, by its name in another one. It does not follow a symlink.
func chmodDir(parent int, name string, mode uint32) error {
	return unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

// swap gives a file the name of another one, which is renamed to aside first.
func swap(from, to, aside string) error { return swapInSteps(from, to, aside) }

// clearAttributesOf does nothing: a new file inherits no extended attributes on these systems.
func clearAttributesOf(string) (found bool, err error) { return false, nil }
