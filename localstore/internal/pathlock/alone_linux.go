package pathlock

import (
	"os"

	"golang.org/x/sys/unix"
)

// canBeAlone says whether the system can tell who else has a file open.
const canBeAlone = true

// isAlone reports whether nobody else has a file open, that was opened for writing: the system
// gives a lease on it only then; see fcntl(2). The error is not nil if it gives none at all.
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
