package testenv

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// LetAllWrite gives a directory a default access control list that makes new files in it writable for
// every user, whatever the umask. It skips the test if the file system does not support such lists.
func LetAllWrite(t testing.TB, dir string) {
	t.Helper()
	const all, noID = 7, 0xffffffff
	// See struct posix_acl_xattr_entry in Linux's include/uapi/linux/posix_acl_xattr.h.
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, entry := range []struct {
		tag uint16
		id  uint32
	}{{0x01, noID}, {0x02, Nobody}, {0x04, noID}, {0x10, noID}, {0x20, noID}} { // the owner, a user, the group, the mask, others
		list = binary.LittleEndian.AppendUint16(list, entry.tag)
		list = binary.LittleEndian.AppendUint16(list, all)
		list = binary.LittleEndian.AppendUint32(list, entry.id)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", list, 0); err == unix.ENOTSUP {
		t.Skip("the file system does not support access control lists")
	} else if err != nil {
		t.Fatal(err)
	}
}

// Nobody is the id of an unprivileged user and group.
const Nobody = 65534
