//go:build unix

package nar

import (
	"os"

	"golang.org/x/sys/unix"
)

// canonicalTime is the access and modification time of all files in a store: one second after
// 1970. Nix avoids zero, because some programs treat it as no time.
var canonicalTime = []unix.Timespec{{Sec: 1}, {Sec: 1}}

// setCanonicalTime sets the times of a file in dir. It does not follow symlinks.
func setCanonicalTime(dir *os.File, name string) error {
	err := unix.UtimesNanoAt(int(dir.Fd()), name, canonicalTime, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "set the time of", Path: name, Err: err}
	}
	return nil
}
