//go:build unix

package nar

import (
	"os"

	"golang.org/x/sys/unix"
)

// canonicalTime is the time of access and modification of everything in a store: the first
// second after 1970. Nix avoids zero, which some programs take for no time at all.
var canonicalTime = []unix.Timespec{{Sec: 1}, {Sec: 1}}

// setCanonicalTime sets the time of what lies in a directory, also of a symlink.
func setCanonicalTime(dir *os.File, name string) error {
	err := unix.UtimesNanoAt(int(dir.Fd()), name, canonicalTime, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "set the time of", Path: name, Err: err}
	}
	return nil
}
