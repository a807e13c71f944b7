package objects

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

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
