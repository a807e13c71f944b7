//go:build unix

package main

import "golang.org/x/sys/unix"

// maxFiles returns the number of files that the process may open, or 0 if it is unknown.
func maxFiles() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur)
}
