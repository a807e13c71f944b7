package server

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// firstInherited is the descriptor of the first socket that systemd hands over.
const firstInherited = 3

// maxInherited is how many there may be.
const maxInherited = 64

// Inherited returns the listeners that systemd, or whoever does it in the same way, has
// opened for this process. They are told by the variables LISTEN_FDS and LISTEN_PID of an
// environment; without the first there are none. That they are meant for another process is
// an error. It is to be called once, and before files are opened.
func Inherited(getenv func(string) string) ([]net.Listener, error) {
	fds := getenv("LISTEN_FDS")
	if fds == "" {
		return nil, nil
	}
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("unexpected systemd environment variables: LISTEN_FDS is %q, but LISTEN_PID is %q, and this is process %d", fds, getenv("LISTEN_PID"), os.Getpid())
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("unexpected systemd environment variables: LISTEN_FDS is %q", fds)
	}
	var listeners []net.Listener
	for i := range n {
		f := os.NewFile(uintptr(firstInherited+i), "LISTEN_FDS")
		l, err := net.FileListener(f) // a duplicate, which no child inherits
		f.Close()
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, fmt.Errorf("the socket %d of LISTEN_FDS: %w", i, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}
