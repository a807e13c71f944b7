package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"pix/daemontest"
	"pix/protocol"
	"pix/server"
	"pix/store/memstore"
	"pix/storepath"
)

// A fickle is a transport to a daemon that fails or hangs when the test wants it.
type fickle struct {
	*daemontest.Daemon
	broken, hangs atomic.Bool
	dials         atomic.Int32
}

func (f *fickle) Dial(ctx context.Context) (net.Conn, error) {
	f.dials.Add(1)
	switch {
	case f.broken.Load():
		return nil, errors.New("no such host")
	case f.hangs.Load():
		client, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		return client, nil
	}
	return f.Daemon.Dial(ctx)
}

// A pipeListener is a listener in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// dial connects and performs the handshake.
func (l *pipeListener) dial(t *testing.T) *client {
	t.Helper()
	ours, theirs := net.Pipe()
	l.conns <- theirs
	c := newClient(t, ours)
	c.greetAs(storepath.DefaultDir)
	return c
}

// A mortal is a daemon that does nothing until it is killed.
type mortal struct {
	served sync.WaitGroup
	conns  []net.Conn
}

func (*mortal) String() string { return "a mortal daemon" }

func (m *mortal) Dial(context.Context) (net.Conn, error) {
	client, ours := net.Pipe()
	m.conns = append(m.conns, ours)
	m.served.Go(func() {
		server.Serve(context.Background(), ours, memstore.New(nil), &server.Options{Trusted: true, Before: func(ctx context.Context, _ protocol.Request) error {
			<-ctx.Done()
			return ctx.Err()
		}})
	})
	return client, nil
}

func (m *mortal) kill() {
	for _, nc := range m.conns {
		nc.Close()
	}
}
