//go:build !unix

package server

import (
	"net"
	"os"
)

// waitReadable does nothing on this system.
func waitReadable(net.Conn) {}

// hasHungUp is not implemented on this system.
func hasHungUp(net.Conn) (hungUp, ok bool) { return false, false }

// maxFiles returns 0, since the number is unknown on this system.
func maxFiles() uint64 { return 0 }

// lockSocket does nothing on this system.
func lockSocket(string) (unlock func(), err error) { return func() {}, nil }

// pollable returns the file itself. On this system closing it may not end a blocked Read.
func pollable(f *os.File) (*stream, error) { return &stream{f, func() {}}, nil }
