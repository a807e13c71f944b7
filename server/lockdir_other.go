//go:build !unix

package server

// lockDir does nothing on this system.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }
