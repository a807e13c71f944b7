package daemontest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pix/server"
)

// A host takes connections until its test ends, from memory and from Unix sockets.
type host struct {
	t         testing.TB
	serveConn func(context.Context, net.Conn) error // serves a connection, and closes it
	ctx       context.Context
	cancel    context.CancelFunc
	conns     sync.WaitGroup

	mu     sync.Mutex
	socket string
	closed bool
	wrong  []error // how connections ended that did not end well
}

// begin makes the host ready to serve. It ends with the test.
func (h *host) begin(t testing.TB, serveConn func(context.Context, net.Conn) error) {
	h.t, h.serveConn = t, serveConn
	h.ctx, h.cancel = context.WithCancel(context.Background())
	t.Cleanup(h.Close)
}

// ErrClosed says that the daemon has ended.
var ErrClosed = errors.New("the daemon has ended")

// Dial returns the client's end of a new connection in memory, before the handshake. It
// fails only when ctx is done or the daemon has ended.
func (h *host) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, ours := net.Pipe()
	if !h.serve(ours) {
		client.Close()
		ours.Close()
		return nil, ErrClosed
	}
	return client, nil
}

// String names the daemon in errors, so that it is a transport of package daemon.
func (h *host) String() string { return "a daemon in process" }

// serve serves a connection in the background. It returns false when the daemon has ended.
func (h *host) serve(nc net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.conns.Go(func() {
		err := h.serveConn(h.ctx, nc)
		if err != nil && h.ctx.Err() == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.wrong = append(h.wrong, err)
		}
	})
	return true
}

// Errors returns how those connections ended that did not end well, so far: for what the
// server says of a client's mistakes. Those that faults ended are among them.
func (h *host) Errors() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]error(nil), h.wrong...)
}

// Socket returns the path of a Unix socket on which the daemon listens from the first call
// on. It fails the test where there can be none.
func (h *host) Socket() string {
	h.t.Helper()
	h.mu.Lock()
	socket := h.socket
	h.mu.Unlock()
	if socket != "" {
		return socket
	}
	// Not t.TempDir: the path of a socket has at most 107 bytes, often fewer.
	dir, err := os.MkdirTemp("", "pix")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	h.ListenOn(socket)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.socket = socket
	return socket
}

// ListenOn makes the daemon listen on a Unix socket at that path, too. It fails the test if
// that is not possible.
func (h *host) ListenOn(path string) {
	h.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.conns.Go(func() {
		server.Accept(h.ctx, l, func(_ context.Context, nc net.Conn) {
			if !h.serve(nc) {
				nc.Close()
			}
		})
	})
}

// Close ends the daemon and all its connections before the test does.
func (h *host) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.conns.Wait()
}
