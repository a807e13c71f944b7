//go:build unix

package daemon

import "golang.org/x/sys/unix"

// hasNonblocking reports whether the functions below exist.
const hasNonblocking = true

// isQuiet reports whether a socket has nothing to read: no byte, no hang-up and no error. It
// does not wait.
func isQuiet(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err == unix.EAGAIN
		}
	}
}

// tryWrite writes as much of p as the socket accepts without waiting, and returns the number of
// bytes. It returns no error, since writing the rest fails again.
func tryWrite(fd uintptr, p []byte) int {
	n, err := unix.Write(int(fd), p)
	if err != nil {
		return 0
	}
	return n
}
