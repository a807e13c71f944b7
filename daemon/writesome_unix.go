//go:build unix

package daemon

import (
	"net"
	"syscall"
)

// writeSome writes what the system takes of p without waiting, and returns how much that
// was. An error will come again when the rest is written.
func writeSome(nc net.Conn, p []byte) int {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	raw.Write(func(fd uintptr) bool {
		n, err = syscall.Write(int(fd), p) // the descriptor is one that does not block
		return true
	})
	return max(n, 0)
}
