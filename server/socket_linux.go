package server

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxSocketPath is how many bytes of a path sockaddr_un has room for.
const maxSocketPath = 107

// shortName returns a name for a path that fits into the address of a socket: if need be
// one below a descriptor of its directory. It is good until release is called. What is last
// in the path has to fit.
func shortName(path string) (name string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, base := filepath.Split(path)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	name = fmt.Sprintf("/proc/self/fd/%d/%s", fd, base)
	if len(name) > maxSocketPath { // nobody could connect to it
		unix.Close(fd)
		return "", nil, fmt.Errorf("the name '%s' is too long for a socket", base)
	}
	return name, func() { unix.Close(fd) }, nil
}
