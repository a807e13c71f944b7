package localstore

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// swap gives two files each other's names in one step. Where the file system cannot, what is at
// to goes to aside first.
func swap(from, to, aside string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOENT) {
		return swapInSteps(from, to, aside)
	}
	return os.NewSyscallError("exchange "+from+" and "+to, err)
}
