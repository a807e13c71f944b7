package pathlock

import (
	"os"

	"golang.org/x/sys/unix"
)

// canBeAlone reports whether this system can detect that no other process has opened a file.
const canBeAlone = true

// isAlone reports whether no other process has opened a file that is open for writing here. Only in that case the
// system grants a write lease; see fcntl(2). It returns an error if the file system does not support leases.
func isAlone(f *os.File) (bool, error) {
	switch _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err {
	case nil:
	case unix.EAGAIN:
		return false, nil
	default:
		return false, err
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return err == nil, err
}
