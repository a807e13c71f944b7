package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A connectionsWorld is a server with a limit of its connections.
type connectionsWorld struct {
	connections *httpConnections
	address     string
	started     chan struct{} // gets a value when a handler for /wait has started
	release     chan struct{} // ends these handlers
}

func newConnectionsWorld(t *testing.T, most int, minUnused time.Duration) *connectionsWorld {
	t.Helper()
	w := &connectionsWorld{connections: newHTTPConnections(most), started: make(chan struct{}, 1000), release: make(chan struct{})}
	srv := newHTTPServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			w.started <- struct{}{}
			<-w.release
		}
		io.WriteString(rw, "ok")
	}))
	w.connections.minUnused = minUnused
	w.connections.attach(srv)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(w.connections.limit(l)) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

// A rawClient is a connection to the server.
type rawClient struct {
	net.Conn
	in *bufio.Reader
}

func (w *connectionsWorld) dial(t *testing.T) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute)) // a server that hangs fails the test
	return &rawClient{nc, bufio.NewReader(nc)}
}

// send sends a request.
func (c *rawClient) send(path string) { fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path) }

// receive receives a response.
func (c *rawClient) receive() error {
	resp, err := http.ReadResponse(c.in, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	return err
}

// Idle connections, and connections whose requests are not complete, make room for new ones.
func TestUnusedConnections(t *testing.T) {
	for _, start := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		w := newConnectionsWorld(t, 3, 0)
		for range 10 {
			c := w.dial(t)
			io.WriteString(c, start)
			if strings.HasSuffix(start, "\r\n\r\n") {
				if err := c.receive(); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 2 {
			c := w.dial(t)
			c.send("/")
			if err := c.receive(); err != nil {
				t.Errorf("after clients that sent %q: %v", start, err)
			}
		}
		w.connections.mu.Lock()
		if n := len(w.connections.open); n > 3 {
			t.Errorf("%d connections are open", n)
		}
		w.connections.mu.Unlock()
	}
}

// A connection whose request is answered is not closed. New connections wait for its end.
func TestUsedConnections(t *testing.T) {
	w := newConnectionsWorld(t, 2, time.Hour)
	var busy []*rawClient
	for range 2 {
		c := w.dial(t)
		c.send("/wait")
		<-w.started
		busy = append(busy, c)
	}
	var waiting sync.WaitGroup
	for range 3 {
		c := w.dial(t)
		c.send("/")
		waiting.Go(func() {
			if err := c.receive(); err != nil {
				t.Errorf("a connection that waited: %v", err)
			}
			c.Close()
		})
	}
	close(w.release)
	for _, c := range busy {
		if err := c.receive(); err != nil {
			t.Errorf("a connection with a request: %v", err)
		}
		c.Close() // it makes room
	}
	waiting.Wait()
}

// A server that waits for a place can be closed.
func TestCloseWhileWaiting(t *testing.T) {
	w := newConnectionsWorld(t, 1, 0)
	c := w.dial(t)
	c.send("/wait")
	<-w.started
	w.dial(t).send("/")
	t.Cleanup(func() { close(w.release) }) // before the server is closed
}

// HTTP/2 connections count, too: one with a stream is used, and one without is not.
func TestHTTP2Connections(t *testing.T) {
	w := newConnectionsWorld(t, 1, time.Second)
	// Each request has a new client: an old one could send a request while the server closes its connection.
	get := func(path string) error {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetUnencryptedHTTP2(true)
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("http://" + w.address + path)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return err
	}
	for range 2 {
		if err := get("/"); err != nil {
			t.Fatal(err)
		}
	}
	long := make(chan error, 1)
	go func() { long <- get("/wait") }()
	<-w.started
	other := make(chan error, 1)
	go func() { other <- get("/") }()
	close(w.release)
	if err := errors.Join(<-long, <-other); err != nil {
		t.Error(err)
	}
}

// The connections below TLS are counted, and forgotten when they end.
func TestTLSConnections(t *testing.T) {
	connections := newHTTPConnections(2)
	connections.minUnused = 0
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	srv.EnableHTTP2 = true
	srv.Listener = connections.limit(srv.Listener)
	connections.attach(srv.Config)
	srv.StartTLS()
	for range 5 {
		transport := srv.Client().Transport.(*http.Transport).Clone()
		resp, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	srv.Close()
	connections.mu.Lock()
	defer connections.mu.Unlock()
	if n, m := len(connections.open), connections.unused.Len(); n > 2 || m > n {
		t.Errorf("%d connections are open, %d unused", n, m)
	}
}

// A third of the files is for the stores.
func TestConnectionsFor(t *testing.T) {
	for files, want := range map[uint64]int{0: 4096, 1: 1, 300: 100, 1024: 341, 1 << 20: 4096, 1<<64 - 1: 4096} {
		if got := connectionsFor(files); got != want {
			t.Errorf("with %d files: %d, want %d", files, got, want)
		}
	}
}
