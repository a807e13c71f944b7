package daemon

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// A Transport reaches a daemon: [Unix], [Command], [SSH], or one of the caller's own.
type Transport interface {
	// Dial makes a stream of bytes to the daemon. It obeys ctx, which may end as soon as it
	// has returned.
	Dial(ctx context.Context) (net.Conn, error)

	// String names the daemon in errors.
	String() string
}

// Unix is the [Transport] through the Unix socket at Path, [DefaultSocket] if that is "".
// Where the system allows it (on Linux), the path may be of any length.
type Unix struct{ Path string }

// String returns the path.
func (u Unix) String() string {
	if u.Path == "" {
		return DefaultSocket
	}
	return u.Path
}

// Dial implements [Transport]. Where so many wait to be connected that the system takes no more
// (Nix 2.3 lets five), it tries again until ctx ends.
func (u Unix) Dial(ctx context.Context) (net.Conn, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		nc, err := u.dial(ctx)
		if !errors.Is(err, syscall.EAGAIN) {
			return nc, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (u Unix) dial(ctx context.Context) (net.Conn, error) {
	if path := u.String(); len(path) > maxSocketPath {
		return dialLong(ctx, path)
	}
	return new(net.Dialer).DialContext(ctx, "unix", u.String())
}

// maxSocketPath is how many bytes of a path every system's sockaddr_un has room for.
const maxSocketPath = 100
