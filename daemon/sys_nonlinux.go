//go:build !linux

package daemon

import (
	"context"
	"net"
)

// dialLong connects to a socket. The system reports an error if its path is too long.
func dialLong(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}
