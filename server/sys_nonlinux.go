//go:build !linux

package server

import (
	"errors"
	"net"

	"pix/internal/unsupported"
	"pix/nar"
)

// PeerOf returns [errors.ErrUnsupported] on this system.
func PeerOf(nc net.Conn) (*Peer, error) {
	return nil, unsupported.Errorf("cannot identify the peer of a %T", nc)
}

var errNoSendfile = errors.New("sendfile is not used on this system")

func sendFile(net.Conn, nar.File, int64, int) (int, error) { return 0, errNoSendfile }

// shortName returns the path. The system reports an error if it is too long.
func shortName(path string) (name string, release func(), err error) {
	return path, func() {}, nil
}
