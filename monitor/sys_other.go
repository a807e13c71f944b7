//go:build !unix

package monitor

import "net"

// hasHungUp returns true: this system does not distinguish a half-close.
func hasHungUp(net.Conn) bool { return true }

func waitHangUp(net.Conn) bool { return false }
