package server_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pix/server"
)

func TestAccept(t *testing.T) {
	s, _, _ := newStore(t)
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, accepted, served := make(chan error), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- server.Accept(ctx, l, func(ctx context.Context, nc net.Conn) {
			close(accepted)
			served <- server.Serve(ctx, nc, s, nil)
		})
	}()
	nc, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	<-accepted // the connection is in the handshake now, or soon
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("%v", err)
	}
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("the connection ended with %v", err)
	}
	if _, err := net.Dial("unix", l.Addr().String()); err == nil {
		t.Error("the listener is open")
	}
}

// A flaky listener fails fails times for lack of descriptors, and then permanently.
type flaky struct{ fails int }

func (f *flaky) Accept() (net.Conn, error) {
	if f.fails++; f.fails <= 2 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return nil, errors.New("broken")
}
func (*flaky) Close() error   { return nil }
func (*flaky) Addr() net.Addr { return nil }

func TestAcceptTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(flaky)
		start := time.Now()
		if err := server.Accept(t.Context(), f, nil); err == nil || err.Error() != "broken" || f.fails != 3 {
			t.Errorf("%v after %d attempts", err, f.fails)
		}
		if time.Since(start) != 15*time.Millisecond {
			t.Errorf("Accept took %v", time.Since(start))
		}
	})
}
