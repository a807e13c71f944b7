package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pix/daemon"
	"pix/daemontest"
	"pix/internal/testenv"
	"pix/monitor"
	"pix/server"
	"pix/store"
)

// patience is much longer than anything takes on a loaded machine.
const patience = time.Minute

// A proxy is a monitor between clients and a listener of the test.
type proxy struct {
	*monitor.Monitor
	t       testing.TB
	socket  string
	daemons chan net.Conn // the daemon's ends of the connections
	stop    func()
	gate    chan struct{} // the handler waits for it, unless it is nil

	mu     sync.Mutex
	events []*monitor.Event
}

// newProxy starts a monitor in front of a daemon that the test plays.
func newProxy(t testing.TB) *proxy {
	t.Helper()
	return newGatedProxy(t, nil)
}

// newGatedProxy starts a monitor whose handler waits until gate is closed, if it is not nil.
func newGatedProxy(t testing.TB, gate chan struct{}) *proxy {
	t.Helper()
	p := &proxy{daemons: make(chan net.Conn), gate: gate}
	dir := testenv.SocketDir(t)
	behind, err := net.Listen("unix", filepath.Join(dir, "behind"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := behind.Accept()
			if err != nil {
				return
			}
			select {
			case p.daemons <- nc:
			case <-ended:
				nc.Close()
			}
		}
	}()
	t.Cleanup(func() {
		close(ended)
		behind.Close()
		<-accepting
	})
	p.serve(t, dir, behind.Addr().String())
	return p
}

// newProxyOf starts a monitor in front of a daemon.
func newProxyOf(t testing.TB, d *daemontest.Daemon) *proxy {
	t.Helper()
	p := new(proxy)
	p.serve(t, testenv.SocketDir(t), d.Socket())
	return p
}

func (p *proxy) serve(t testing.TB, dir, behind string) {
	t.Helper()
	p.t, p.socket = t, filepath.Join(dir, "socket")
	p.Monitor = &monitor.Monitor{Dial: monitor.DialUnix(behind), Handle: func(e *monitor.Event) {
		if p.gate != nil {
			<-p.gate
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}}
	l, err := server.ListenPrivate(p.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Monitor.Serve(ctx, l) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
}

// dial returns both ends of a connection through the monitor.
func (p *proxy) dial() (client, daemon *net.UnixConn) {
	p.t.Helper()
	nc, err := net.Dial("unix", p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { nc.Close() })
	select {
	case d := <-p.daemons:
		p.t.Cleanup(func() { d.Close() })
		d.SetDeadline(time.Now().Add(patience))
		nc.SetDeadline(time.Now().Add(patience))
		return nc.(*net.UnixConn), d.(*net.UnixConn)
	case <-time.After(patience):
		p.t.Fatal("the monitor does not connect")
	}
	return nil, nil
}

// seen stops the monitor and returns the events.
func (p *proxy) seen() []*monitor.Event {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events
}

func (p *proxy) write(nc net.Conn, b []byte) {
	p.t.Helper()
	if _, err := nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// expect reads exactly these bytes.
func (p *proxy) expect(nc net.Conn, want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		p.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func (p *proxy) expectEnd(nc net.Conn) {
	p.t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("got %d bytes, %v, want the end", n, err)
	}
}

// expectNoReader writes until the other end reports that nothing reads.
func (p *proxy) expectNoReader(nc net.Conn) {
	p.t.Helper()
	for {
		_, err := nc.Write(make([]byte, 1000))
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			return
		}
		if err != nil {
			p.t.Fatalf("writing to an end that is closed: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Bytes that are not the protocol pass in both directions, as soon as they come.
func TestGarbagePasses(t *testing.T) {
	testenv.NoLeak(t)
	p := newProxy(t)
	client, daemon := p.dial()
	for _, text := range []string{"x", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("y", 100000)} {
		go p.write(client, []byte(text))
		p.expect(daemon, []byte(text))
		go p.write(daemon, []byte(text))
		p.expect(client, []byte(text))
	}
	client.Close()
	p.expectEnd(daemon)
	raw := false
	for _, e := range p.seen() {
		raw = raw || e.Raw != nil && strings.Contains(e.Raw.Reason, "magic number")
	}
	if !raw {
		t.Errorf("no event says why the connection is not decoded: %v", p.events)
	}
}

// A side that has closed only its writing end still gets data.
func TestHalfClose(t *testing.T) {
	testenv.NoLeak(t)
	for _, daemonFirst := range []bool{false, true} {
		p := newProxy(t)
		first, second := p.dial()
		if daemonFirst {
			first, second = second, first
		}
		p.write(first, []byte("last words"))
		first.CloseWrite()
		p.expect(second, []byte("last words"))
		p.expectEnd(second)
		for range 3 {
			p.write(second, []byte("an answer"))
			p.expect(first, []byte("an answer"))
		}
		second.CloseWrite()
		p.expectEnd(first)
	}
}

// A side that is gone, also after a half-close, is gone for the other side: its writes fail, and
// its system reports that the other end has hung up.
func TestHangUp(t *testing.T) {
	testenv.NoLeak(t)
	for _, c := range []struct{ daemonFirst, halfBefore bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		p := newProxy(t)
		first, second := p.dial()
		if c.daemonFirst {
			first, second = second, first
		}
		if c.halfBefore {
			first.CloseWrite()
			p.expectEnd(second)
			p.write(second, []byte("still open"))
			p.expect(first, []byte("still open"))
		}
		first.Close()
		p.expectEnd(second)
		p.expectNoReader(second)
	}
}

// Both sides can shut down reading, which the other side notices when it writes.
func TestNoReader(t *testing.T) {
	testenv.NoLeak(t)
	p := newProxy(t)
	client, daemon := p.dial()
	daemon.CloseRead()
	p.expectNoReader(client)
	p.write(daemon, []byte("but it talks"))
	p.expect(client, []byte("but it talks"))
}

// When the monitor ends, its connections end.
func TestStop(t *testing.T) {
	testenv.NoLeak(t)
	p := newProxy(t)
	client, daemon := p.dial()
	p.stop()
	p.expectEnd(client)
	p.expectEnd(daemon)
}

// A client of another user is refused, without a connection to the daemon.
func TestOtherUser(t *testing.T) {
	var refused *monitor.RefusedError
	dial := monitor.DialUnix("/nonexistent")
	uid := os.Geteuid()
	if uid == 0 {
		uid = -1
	} else {
		uid++
	}
	if _, err := dial(t.Context(), &monitor.Client{UID: uid}); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if _, err := dial(t.Context(), &monitor.Client{UID: os.Geteuid()}); errors.As(err, &refused) || err == nil {
		t.Errorf("got %v", err)
	}
}

// A client whose daemon does not exist is disconnected, and an event says why.
func TestNoDaemon(t *testing.T) {
	testenv.NoLeak(t)
	p := new(proxy)
	p.serve(t, testenv.SocketDir(t), "/nonexistent/socket")
	nc, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	p.expectEnd(nc)
	for _, e := range p.seen() {
		if e.Failure != nil && e.Failure.Reason == "connecting to '/nonexistent/socket': no such file or directory" {
			return
		}
	}
	t.Errorf("got %v", p.events)
}

// A handler that blocks does not delay connections.
func TestSlowHandler(t *testing.T) {
	testenv.NoLeak(t)
	release := make(chan struct{})
	p := newGatedProxy(t, release)
	client, daemon := p.dial()
	block := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	for range 20 { // more than waits for the decoder
		go p.write(client, block)
		p.expect(daemon, block)
	}
	close(release)
	client.Close()
	p.expectEnd(daemon)
	if events := p.seen(); events[len(events)-1].Close == nil || events[len(events)-1].Close.Up != int64(20*len(block)) {
		t.Errorf("got %v", events)
	}
}

// Many clients at the same time get their own answers, and each operation is shown. With PIX_LONG=1
// more follow.
func TestManyClients(t *testing.T) {
	testenv.NoLeak(t)
	const clients = 500
	rounds := 1
	if os.Getenv("PIX_LONG") != "" {
		rounds = 4
	}
	d := daemontest.New(t, nil)
	path, err := store.AddText(t.Context(), d.Store, "text", "a text", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxyOf(t, d)
	for range rounds {
		var asking, connecting sync.WaitGroup
		connecting.Add(clients)
		for range clients {
			asking.Go(func() {
				c, err := daemon.Dial(t.Context(), p.socket, &daemon.Options{HandshakeTimeout: patience})
				connecting.Done()
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				connecting.Wait() // until all are connected
				if valid, err := c.IsValidPath(t.Context(), path); err != nil || !valid {
					t.Error(valid, err)
				}
			})
		}
		asking.Wait()
	}
	var totals monitor.Totals
	for _, e := range p.seen() {
		totals.Add(e)
	}
	s := totals.Summary()
	if n := rounds * clients; s.Connections != n || s.Open != 0 || s.Raw != 0 || len(s.Operations) != 1 || s.Operations[0].Count != n {
		t.Errorf("got %+v", s)
	}
}

// Other users can open neither the socket of a monitor nor a directory that it creates.
func TestPrivateSocket(t *testing.T) {
	dir := filepath.Join(testenv.SocketDir(t), "new")
	l, err := server.ListenPrivate(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]os.FileMode{dir: 0o700, l.Addr().String(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
}
