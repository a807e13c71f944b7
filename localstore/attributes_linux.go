package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ignoredAttributes are extended attributes that the system gives to files and that cannot be
// removed. They are the default of Nix's ignored-acls.
var ignoredAttributes = map[string]bool{"security.csm": true, "security.selinux": true, "system.nfs4_acl": true}

// clearAttributes removes the extended attributes of an object that was just made, such as
// access control lists that it got from the store directory. What is made in one directory has
// got the same, so there are some anywhere only if the object itself has some.
func clearAttributes(name string) error {
	found, err := clearAttributesOf(name)
	if err != nil || !found {
		return err
	}
	return filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			_, err = clearAttributesOf(path)
		}
		return err
	})
}

// clearAttributesOf removes the extended attributes of one file, and reports whether there
// were any.
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
		return false, &os.PathError{Op: "list the extended attributes of", Path: name, Err: err}
	}
	for attribute := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		if ignoredAttributes[attribute] {
			continue
		}
		found = true
		if err := unix.Lremovexattr(name, attribute); err != nil {
			return found, &os.PathError{Op: "remove the extended attribute " + attribute + " of", Path: name, Err: err}
		}
	}
	return found, nil
}
