package daemon

import (
	"context"
	"net"
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

// Dial implements [Transport].
func (u Unix) Dial(ctx context.Context) (net.Conn, error) {
	if path := u.String(); len(path) > maxSocketPath {
		return dialLong(ctx, path)
	}
	return new(net.Dialer).DialContext(ctx, "unix", u.String())
}

// maxSocketPath is how many bytes of a path every system's sockaddr_un has room for.
const maxSocketPath = 100
