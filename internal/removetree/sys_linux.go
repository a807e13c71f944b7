package removetree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openHere opens a directory by its name in another one. The error is EXDEV if something is mounted on
// it, except before Linux 5.6, which cannot tell.
func openHere(parent int, name string) (fd int, err error) {
	fd, err = unix.Openat2(parent, name, &unix.OpenHow{Flags: openFlags, Resolve: unix.RESOLVE_NO_XDEV})
	// Filters of system calls that do not know openat2 refuse it with EPERM.
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(parent, name, openFlags, 0)
	}
	return fd, err
}

// chmod changes the mode of a directory, by its name in another one. Another process may have put a symlink in
// its place, which chmod does not follow.
func chmod(parent int, name string, mode uint32) error {
	err := unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
		return err
	}
	// Linux before 6.6 has no fchmodat2, or a filter of system calls refuses it.
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
