package localstore

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

// What passes over gc-socket/socket: whoever needs a path sends it and a line feed, and the
// collector answers with a byte, '1', when it is sure not to delete it any more. See
// addTempRoot and collectGarbage in Nix's src/libstore/gc.cc.
const collectorAck = '1'

// collectorPause is how long someone waits who found a collector's lock, but no socket.
const collectorPause = 20 * time.Millisecond

// rootsAtOnce is how many roots are sent before their answers are read. They have to fit into
// the buffers of a socket.
const rootsAtOnce = 64

// A collectorConn is a connection to a running collector. It is for one goroutine.
type collectorConn struct{ conn net.Conn }

// dialCollector connects to the collector, or returns nil if none listens.
func dialCollector(ctx context.Context, socket string) (*collectorConn, error) {
	conn, err := withShortName(socket, func(name string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", name)
	})
	switch {
	case err == nil:
		return &collectorConn{conn}, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.EAGAIN):
		return nil, nil
	}
	return nil, fmt.Errorf("telling the garbage collector of a root: %w", err)
}

// send tells the collector of paths and waits until it has answered for all. ended means that it
// hung up instead.
func (c *collectorConn) send(ctx context.Context, paths []storepath.Path) (ended bool, err error) {
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil && !ended {
			err = context.Cause(ctx) // the deadline cannot be told from one that comes later
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
			return false, fmt.Errorf("telling the garbage collector of a root: %w", err)
		}
		paths = paths[n:]
	}
	return false, nil
}

func (c *collectorConn) exchange(paths []storepath.Path) error {
	var text []byte
	for _, p := range paths {
		text = append(append(text, p...), '\n')
	}
	if _, err := c.conn.Write(text); err != nil {
		return err
	}
	answers := text[:len(paths)]
	if _, err := io.ReadFull(c.conn, answers); err != nil {
		return err
	}
	for _, b := range answers {
		if b != collectorAck {
			return fmt.Errorf("it answered %q instead of %q", b, collectorAck)
		}
	}
	return nil
}

func (c *collectorConn) close() { c.conn.Close() }

// maxSocketName is how long the name of a socket may be on every system.
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
