package monitor_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/internal/testenv"
	"pix/monitor"
	"pix/server"
)

// After a panic of the handler, connections go on, and Serve returns the panic.
func TestHandlerPanics(t *testing.T) {
	testenv.NoLeak(t)
	dir := testenv.SocketDir(t)
	behind, err := net.Listen("unix", filepath.Join(dir, "behind"))
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	l, err := server.ListenPrivate(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	called := make(chan struct{})
	m := &monitor.Monitor{Dial: monitor.DialUnix(behind.Addr().String()), Handle: func(*monitor.Event) {
		calls++
		defer close(called)
		panic("a fault of the handler")
	}}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, l) }()
	p := &proxy{t: t}
	for range 3 {
		client, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		daemon, err := behind.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer daemon.Close()
		<-called
		client.SetDeadline(time.Now().Add(patience))
		daemon.SetDeadline(time.Now().Add(patience))
		p.write(client, []byte("a request"))
		p.expect(daemon, []byte("a request"))
		p.write(daemon, []byte("a reply"))
		p.expect(client, []byte("a reply"))
	}
	cancel()
	if err := <-served; err == nil || !strings.Contains(err.Error(), "a fault of the handler") {
		t.Errorf("got %v", err)
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// A client that is refused does not wait for a handler that blocks.
func TestRefusedClientDoesNotWait(t *testing.T) {
	testenv.NoLeak(t)
	release := make(chan struct{})
	p := &proxy{gate: release}
	p.serve(t, testenv.SocketDir(t), "/nonexistent/socket")
	defer close(release)
	nc, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	p.expectEnd(nc)
}
