//go:build unix

package descriptors

import "golang.org/x/sys/unix"

// limit returns RLIMIT_NOFILE, which the Go runtime has raised to the hard limit.
func limit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return maxLimit
	}
	return int(min(uint64(limit.Cur), maxLimit))
}
