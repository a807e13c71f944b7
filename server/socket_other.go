//go:build !linux

package server

// shortName returns the path. One that is too long is the system's error.
func shortName(path string) (name string, release func(), err error) {
	return path, func() {}, nil
}
