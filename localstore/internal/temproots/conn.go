package temproots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pix/storepath"
)

// collectorAck is the byte with which a collector answers a path and a line feed.
const collectorAck = '1'

// collectorPause is the time between two attempts to connect to a collector that does not listen.
const collectorPause = 20 * time.Millisecond

// rootsAtOnce is how many roots are sent before their answers are read. They must fit into the buffers of a socket.
const rootsAtOnce = 64

// A conn is a connection to a running collector, for one goroutine.
type conn struct{ net.Conn }

// dial connects to the collector. It returns nil if no collector listens.
func dial(ctx context.Context, socket string) (*conn, error) {
	c, err := withShortName(socket, func(name string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", name)
	})
	switch {
	case err == nil:
		return &conn{c}, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.EAGAIN):
		return nil, nil
	}
	return nil, fmt.Errorf("sending a root to the garbage collector: %w", err)
}

// send sends paths to the collector and waits for all answers. It reports ended if the collector has closed the
// connection instead.
func (c *conn) send(ctx context.Context, paths []storepath.Path) (ended bool, err error) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil && !ended {
			err = context.Cause(ctx) // the deadline has expired, so the connection cannot be used again
		}
	}()
	for len(paths) > 0 {
		n := min(len(paths), rootsAtOnce)
		if err := c.exchange(paths[:n]); err != nil {
			switch {
			case ctx.Err() != nil:
				return false, context.Cause(ctx)
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
				return true, nil
			}
			return false, fmt.Errorf("sending a root to the garbage collector: %w", err)
		}
		paths = paths[n:]
	}
	return false, nil
}

// exchange sends paths and reads their answers.
func (c *conn) exchange(paths []storepath.Path) error {
	var text []byte
	for _, p := range paths {
		text = append(append(text, p...), '\n')
	}
	if _, err := c.Write(text); err != nil {
		return err
	}
	answers := text[:len(paths)]
	if _, err := io.ReadFull(c, answers); err != nil {
		return err
	}
	for _, b := range answers {
		if b != collectorAck {
			return fmt.Errorf("it answered %q instead of %q", b, collectorAck)
		}
	}
	return nil
}

// maxSocketName is the largest length in bytes of a socket name that every system supports.
const maxSocketName = 103

// withShortName calls f with a name for the socket that is short enough for the system.
func withShortName[T any](socket string, f func(name string) (T, error)) (T, error) {
	if len(socket) <= maxSocketName {
		return f(socket)
	}
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		var none T
		return none, err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
}
