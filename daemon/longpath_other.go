//go:build !linux

package daemon

import (
	"context"
	"net"
)

// dialLong connects to a socket whose path may not fit into its address, which then is the
// system's error.
func dialLong(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}
