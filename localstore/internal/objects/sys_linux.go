package objects

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const openDirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// openDir opens a directory by its name in another one. It returns EXDEV if another file system is mounted on the
// directory. Before Linux 5.6 it cannot detect that.
func openDir(parent int, name string) (fd int, err error) {
	fd, err = unix.Openat2(parent, name, &unix.OpenHow{Flags: openDirFlags, Resolve: unix.RESOLVE_NO_XDEV})
	// A seccomp filter that does not know openat2 makes it fail with EPERM.
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(parent, name, openDirFlags, 0)
	}
	return fd, err
}

// chmodDir changes the mode of a directory, by its name in another one. It does not follow a symlink, because the owner
// of the tree may have replaced the directory by one.
func chmodDir(parent int, name string, mode uint32) error {
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

// swap exchanges the names of two files in one step. If the file system does not support that, or nothing has the name
// to, it does the same as swapInSteps.
func swap(from, to, aside string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOENT) {
		return swapInSteps(from, to, aside)
	}
	return os.NewSyscallError("exchange "+from+" and "+to, err)
}

// ignoredAttributes are extended attributes that the system adds to files and does not allow to remove. They are the
// default of Nix's setting ignored-acls.
var ignoredAttributes = map[string]bool{"security.csm": true, "security.selinux": true, "system.nfs4_acl": true}

// clearAttributesOf removes the extended attributes of one file, and reports whether the file had any.
func clearAttributesOf(name string) (found bool, err error) {
	size, err := unix.Llistxattr(name, nil)
	if size == 0 || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENODATA) {
		return false, nil
	}
	list := make([]byte, max(size, 0))
	if err == nil {
		size, err = unix.Llistxattr(name, list)
	}
	if err != nil {
		return false, pathError("list the extended attributes of", name, err)
	}
	for attribute := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if ignoredAttributes[attribute] {
			continue
		}
		found = true
		if err := unix.Lremovexattr(name, attribute); err != nil {
			return found, pathError("remove the extended attribute "+attribute+" of", name, err)
		}
	}
	return found, nil
}
