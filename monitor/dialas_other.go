//go:build !linux

package monitor

import (
	"context"
	"net"
)

// Main does nothing on this system.
func Main() {}

// connectAs returns a [*RefusedError]. On this system, the monitor cannot connect as another user.
func connectAs(_ context.Context, _ string, client *Client) (net.Conn, error) {
	return nil, &RefusedError{client}
}
