//go:build !unix

package server

import "net"

// waitReadable does nothing: who reads waits anyhow.
func waitReadable(net.Conn) {}
