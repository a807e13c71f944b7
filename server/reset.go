package server

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// isReset reports whether err says that the other side closed the connection without
// reading what was written to it.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}
