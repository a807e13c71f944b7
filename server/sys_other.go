//go:build !unix

package server

import "net"

// waitReadable does nothing on this system.
func waitReadable(net.Conn) {}

// hasHungUp does not know on this system.
func hasHungUp(net.Conn) (hungUp, ok bool) { return false, false }

// maxFiles returns 0: it is not known on this system.
func maxFiles() uint64 { return 0 }
