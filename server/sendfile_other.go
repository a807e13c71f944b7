//go:build !linux

package server

import (
	"errors"
	"net"

	"pix/nar"
)

var errNoSendfile = errors.New("sendfile is not used on this system")

func sendFile(net.Conn, nar.File, int64, int) (int, error) { return 0, errNoSendfile }
