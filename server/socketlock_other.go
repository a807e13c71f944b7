//go:build !unix

package server

// lockSocket does nothing on this system.
func lockSocket(string) (unlock func(), err error) { return func() {}, nil }
