//go:build !linux

package server

import (
	"errors"
	"fmt"
	"net"
)

// PeerOf returns who is at the other end. The error is [errors.ErrUnsupported] where that
// cannot be known, as on this system.
func PeerOf(nc net.Conn) (*Peer, error) {
	return nil, fmt.Errorf("asking who is at the other end of a connection: %w", errors.ErrUnsupported)
}
