//go:build !linux

package monitor

import (
	"context"
	"net"
)

// Main does nothing on this system.
func Main() {}

// connectAs is an error: this system does not tell who a client is.
func connectAs(_ context.Context, _ string, client *Client) (net.Conn, error) {
	return nil, &RefusedError{client}
}
