package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/daemontest"
	"pix/internal/testenv"
	"pix/protocol"
	"pix/server"
	"pix/store/memstore"
	"pix/storepath"
	"pix/wire"
)

// A host is a server on its own socket.
type host struct {
	*server.Server
	t      *testing.T
	socket string
	ended  chan error

	mu    sync.Mutex
	lines []string // the events it reported
}

func startHost(t *testing.T, s *server.Server) *host {
	t.Helper()
	if s.Store == nil {
		s.Store = memstore.New(nil)
	}
	h := &host{Server: s, t: t, socket: filepath.Join(testenv.SocketDir(t), "daemon-socket", "socket"), ended: make(chan error, 1)}
	l, err := server.ListenUnix(h.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.lines = append(h.lines, e.(activity.Log).Text)
	}))
	go func() { h.ended <- s.Serve(ctx, l) }()
	return h
}

// said waits until the server has reported an event that contains the text, and reports whether
// it has.
func (h *host) said(text string) bool {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		h.mu.Lock()
		found := slices.ContainsFunc(h.lines, func(line string) bool { return strings.Contains(line, text) })
		h.mu.Unlock()
		if found {
			return true
		}
	}
	return false
}

// dial connects and performs the handshake. It returns the error with which the server refuses
// the client.
func (h *host) dial() (*client, error) {
	h.t.Helper()
	nc, err := net.Dial("unix", h.socket)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { nc.Close() })
	c := &client{t: h.t, nc: nc, in: wire.NewReader(nc, 4096), served: make(chan error, 1)}
	if c.params, c.greet, err = protocol.ClientHandshake(c.in, nc, storepath.DefaultDir); err != nil {
		return nil, err
	}
	return c, c.messages()
}

// gone reports whether the server has hung up.
func (c *client) gone() bool {
	c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := c.nc.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (h *host) mustDial() *client {
	h.t.Helper()
	c, err := h.dial()
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func TestWhoIsTrusted(t *testing.T) {
	me, err := server.PeerOf(pairOfSockets(t))
	if err != nil {
		t.Skip(err)
	}
	if me.PID != os.Getpid() || me.UID != uint32(os.Getuid()) || me.GID != uint32(os.Getgid()) {
		t.Errorf("%+v", me)
	}
	for _, c := range []struct {
		access *server.Access
		trust  protocol.Trust
		says   string
	}{
		{nil, protocol.NotTrusted, "accepted connection from " + me.String()},
		{&server.Access{Allowed: []string{"*"}}, protocol.NotTrusted, "accepted connection from " + me.String()},
		{&server.Access{Trusted: []string{me.User()}}, protocol.Trusted, "accepted connection from " + me.String() + " (trusted)"},
	} {
		h := startHost(t, &server.Server{Access: c.access})
		if got := h.mustDial().greet.Trust; got != c.trust || !h.said(c.says) {
			t.Errorf("%+v: %s, and the server reported %q", c.access, got, h.lines)
		}
	}

	h := startHost(t, &server.Server{Access: &server.Access{Allowed: []string{"another"}}})
	_, err = h.dial()
	var said *activity.Error
	if want := "user '" + me.User() + "' is not allowed to connect to the Nix daemon"; !errors.As(err, &said) || said.Message != want || !h.said(want) {
		t.Errorf("%v; the server reported %q", err, h.lines)
	}
}

// pairOfSockets returns the server's end of a connection within this process.
func pairOfSockets(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(testenv.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ours, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return theirs
}

func TestPeerOfOthers(t *testing.T) {
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, nc := range []net.Conn{pipe, nc} {
		if p, err := server.PeerOf(nc); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%T: %+v, %v", nc, p, err)
		}
	}
}

func TestTooManyClients(t *testing.T) {
	for name, c := range map[string]struct {
		server *server.Server
		fit    int
	}{
		"in all":                   {&server.Server{MaxClients: 3, Options: trusted}, 3},
		"of one user":              {&server.Server{MaxClients: 10, MaxClientsPerUser: 2}, 2},
		"of one who is trusted":    {&server.Server{MaxClients: 4, MaxClientsPerUser: 1, Options: trusted}, 4},
		"half, if nothing is said": {&server.Server{MaxClients: 5}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHost(t, c.server)
			var last *client
			for range c.fit {
				last = h.mustDial()
			}
			for range 2 {
				if _, err := h.dial(); err == nil || err.Error() != server.ErrTooMany.Error() {
					t.Errorf("a client over the limit got %v", err)
				}
			}
			last.nc.Close()
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if _, err := h.dial(); err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("after a client has left, another is refused")
				}
			}
		})
	}
}

// A silent client does not delay a shutdown.
func TestShutdownWithSilentClient(t *testing.T) {
	h := startHost(t, &server.Server{})
	h.mustDial()
	for range 3 {
		nc, err := net.Dial("unix", h.socket)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("Shutdown took %v", took)
	}
}

// A shutdown waits for running operations and closes idle connections.
func TestShutdown(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	h := startHost(t, &server.Server{Options: &server.Options{Before: func(ctx context.Context, req protocol.Request) error {
		if req.Op() == protocol.QueryAllValidPaths {
			close(begun)
			<-finish
		}
		return nil
	}}})
	busy, idle := h.mustDial(), h.mustDial()
	must[*protocol.IsValidPathReply](idle, &protocol.IsValidPathRequest{Path: absent}, nil)
	busy.send(&protocol.QueryAllValidPathsRequest{})
	<-begun
	down := make(chan error)
	go func() { down <- h.Shutdown(t.Context()) }()
	if !idle.gone() {
		t.Error("an idle connection was not closed")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		nc, err := net.Dial("unix", h.socket)
		if err != nil {
			break
		}
		nc.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server still listens")
		}
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown did not wait for a running operation: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	if err := busy.messages(); err != nil {
		t.Errorf("the running operation ended with %v", err)
	}
	if _, err := busy.reply(protocol.QueryAllValidPaths); err != nil {
		t.Error(err)
	}
	if !busy.gone() {
		t.Error("the connection still serves requests")
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-h.ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Lstat(h.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestShutdownCuts(t *testing.T) {
	var cause error
	begun := make(chan struct{})
	h := startHost(t, &server.Server{Options: &server.Options{Before: func(ctx context.Context, _ protocol.Request) error {
		close(begun)
		<-ctx.Done()
		cause = context.Cause(ctx)
		return cause
	}}})
	h.mustDial().send(&protocol.QueryAllValidPathsRequest{})
	<-begun
	impatient := errors.New("impatient")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, impatient)
	defer cancel()
	if err := h.Shutdown(ctx); err != impatient || cause != server.ErrShutdown {
		t.Errorf("Shutdown: %v, and the work was cancelled with %v", err, cause)
	}
	if err := <-h.ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Shutdown of a server without clients returns at once.
func TestShutdownOfNothing(t *testing.T) {
	s := &server.Server{Store: memstore.New(nil)}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	l, err := server.ListenUnix(filepath.Join(testenv.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err != nil {
		t.Error(err)
	}
}

// If an upstream daemon does not trust this process, the server reports no client as trusted.
func TestReportedTrustOfProxy(t *testing.T) {
	for _, untrusted := range []bool{false, true} {
		p, err := daemon.Open(t.Context(), daemontest.New(t, &daemontest.Options{Untrusted: untrusted}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		h := startHost(t, &server.Server{Store: p, Options: &server.Options{Trusted: true}})
		h.mustDial()
		if !h.said("accepted connection from ") || h.lines[0] != "accepted connection from "+ourselves(t)+map[bool]string{false: " (trusted)"}[untrusted] {
			t.Errorf("untrusted %t: the server reported %q", untrusted, h.lines)
		}
	}
}

func ourselves(t *testing.T) string {
	t.Helper()
	me, err := server.PeerOf(pairOfSockets(t))
	if err != nil {
		t.Skip(err)
	}
	return me.String()
}
