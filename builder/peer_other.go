//go:build !linux

package builder

import (
	"errors"
	"net"
)

// peerUser returns an error: processes run on Linux only.
func peerUser(*net.UnixConn) (int64, error) { return 0, errors.ErrUnsupported }
