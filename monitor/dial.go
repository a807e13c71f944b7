package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// A RefusedError reports a client of another user.
type RefusedError struct{ Client *Client }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the client belongs to user %d; only a monitor that runs as root serves other users", e.Client.UID)
}

// DialUnix returns a function for [Monitor.Dial] that connects to the Unix socket at path. The
// daemon sees a client of the user of this process as it is. If this process belongs to root,
// DialUnix connects as the user of the client: the program must call [Main] first. Otherwise the
// error for a client of another user is a [*RefusedError].
func DialUnix(path string) func(ctx context.Context, client *Client) (net.Conn, error) {
	return func(ctx context.Context, client *Client) (net.Conn, error) {
		own := os.Geteuid()
		switch {
		case client.UID == own || client.UID < 0 && own != 0:
			return connect(ctx, path)
		case own == 0 && client.UID > 0:
			return connectAs(ctx, path, client)
		}
		return nil, &RefusedError{client}
	}
}

// connect connects to a Unix socket. If the queue of its listener is full, a blocking connect
// would wait, so it tries again.
func connect(ctx context.Context, path string) (net.Conn, error) {
	for delay := time.Millisecond; ; delay = min(2*delay, maxConnectDelay) {
		nc, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return nc, nil
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, connectError(path, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(delay):
		}
	}
}

// connectError returns an error of a dialer without the names of its calls, since clients and events show it.
func connectError(path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		err = errno
	}
	return fmt.Errorf("connecting to '%s': %w", path, err)
}

const maxConnectDelay = 50 * time.Millisecond
