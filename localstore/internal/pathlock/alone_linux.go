package pathlock

import (
	"os"

	"golang.org/x/sys/unix"
)

// canBeAlone reports whether the system can find out that no other process has a file open.
const canBeAlone = true

// isAlone reports whether no other process has a file open, which is open for writing here: only then the
// system grants a write lease; see fcntl(2). It returns an error if the file system has no leases.
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
