package removetree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// OpenDir opens a directory by its name in another one. It returns EXDEV if another file system is mounted on the
// directory. Before Linux 5.6 it cannot detect that.
func OpenDir(parent int, name string) (fd int, err error) {
	fd, err = unix.Openat2(parent, name, &unix.OpenHow{Flags: openFlags, Resolve: unix.RESOLVE_NO_XDEV})
	// A seccomp filter that does not know openat2 makes it fail with EPERM.
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(parent, name, openFlags, 0)
	}
	return fd, err
}

// ChmodDir changes the mode of a directory, by its name in another one. It does not follow a symlink, because the owner
// of the tree may have replaced the directory by one.
func ChmodDir(parent int, name string, mode uint32) error {
	err := unix.Fchmodat(parent, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EPERM) {
		return err
	}
	// Before Linux 6.6 there is no fchmodat2, and a seccomp filter may deny it.
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
}
