package monitor

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pix/internal/testenv"
)

// While the decoder does not run, a client that sends single bytes cannot fill the memory, and
// everything is given back in the end.
func TestSingleBytesAreLimited(t *testing.T) {
	var memory budget
	const limit = 4 << 20
	tap := newTap(&memory, limit, false)
	for range limit / pieceSize * 2 {
		tap.push(FromClient, []byte{0})
	}
	if got := len(tap.batch.pieces); got > limit/pieceSize+maxRawPieces {
		t.Errorf("%d pieces", got)
	}
	if used := memory.used.Load(); used > limit+maxRawPieces*(pieceSize+rawStart) {
		t.Errorf("%d bytes", used)
	}
	tap.discard()
	tap.push(FromClient, []byte{0})
	tap.end(FromClient, nil)
	if used := memory.used.Load(); used != 0 || len(tap.batch.pieces) != 0 || tap.total[FromClient] != limit/pieceSize*2+1 {
		t.Errorf("%d bytes, %d pieces, a total of %d", used, len(tap.batch.pieces), tap.total[FromClient])
	}
}

// If too many connections wait for the handler, others pass without being observed.
func TestObserversAreLimited(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(testenv.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	m := &Monitor{Handle: func(*Event) { events++ }, Dial: func(context.Context, *Client) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			b := make([]byte, 4)
			if n, err := there.Read(b); err == nil {
				there.Write(b[:n])
			}
		}()
		return here, nil
	}}
	m.observers.Store(maxObservers)
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { m.Serve(ctx, l) })
	nc, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	if _, err := nc.Write([]byte("echo")); err != nil {
		t.Error(err)
	}
	b := make([]byte, 4)
	if n, err := nc.Read(b); err != nil || string(b[:n]) != "echo" {
		t.Errorf("%q, %v", b[:n], err)
	}
	cancel()
	serving.Wait()
	if m.Unobserved() != 1 || events != 0 || m.observers.Load() != maxObservers {
		t.Errorf("%d unobserved, %d events, %d observers", m.Unobserved(), events, m.observers.Load())
	}
}
