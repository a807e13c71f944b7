package buildlogs

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Locked reports whether a process has locked one of the files with flock(2), as a build locks its outputs. It does not
// try to lock a file: a build that tries at the same moment would wait for seconds.
func Locked(names ...string) (bool, error) {
	inodes := make(map[string]bool)
	for _, name := range names {
		var st unix.Stat_t
		switch err := unix.Lstat(name, &st); err {
		case nil:
			inodes[strconv.FormatUint(st.Ino, 10)] = true
		case unix.ENOENT, unix.ENOTDIR:
		default:
			return false, &os.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	if len(inodes) == 0 {
		return false, nil
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(locks)) {
		// 1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF. The device is not compared: on some file systems it differs
		// from the one of stat(2).
		const kind, device, numFields = 1, 5, 8
		fields := strings.Fields(line)
		if len(fields) < numFields || fields[kind] != "FLOCK" {
			continue
		}
		if inode := fields[device][strings.LastIndexByte(fields[device], ':')+1:]; inodes[inode] {
			return true, nil
		}
	}
	return false, nil
}
