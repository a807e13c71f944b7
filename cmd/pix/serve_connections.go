package main

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"pix/internal/clientaddr"
)

// defaultConnections is the default of --max-connections.
const defaultConnections = 4096

// connectionsFor returns the default for a process that may have a number of files open, or 0 if the number is unknown. A connection
// may receive a file, which is open, too. A third of the files is for the stores.
func connectionsFor(files uint64) int {
	if files == 0 {
		return defaultConnections
	}
	return int(min(defaultConnections, max(files/3, 1)))
}

// minUnused is the time for which a connection without a request keeps its place. In this time, the server reads the request that a
// new client has sent. A connection of HTTP/2 becomes idle shortly before its last response is flushed.
const minUnused = time.Second

// httpConnections limits the connections of servers. Beyond the limit, a new connection takes the place of the connection
// that has been unused for the longest time. So clients that are idle, or send a request slowly, do not keep others away. If
// all connections have requests, it takes the place of a client that has stalled, or of one that holds more than half of the
// places: see closeBusy. Else new connections wait for the end of one.
type httpConnections struct {
	max       int
	minUnused time.Duration
	stallTime time.Duration

	mu     sync.Mutex
	open   map[net.Conn]*httpConnection
	counts map[netip.Prefix]int // number of open connections of a client
	unused list.List            // of *httpConnection; the first one has been unused for the longest time
	freed  chan struct{}        // wakes a listener that waits for a place
}

// An httpConnection is an open connection.
type httpConnection struct {
	nc      net.Conn
	client  netip.Prefix  // see [clientaddr.Network]
	idle    bool          // all responses were sent, and no byte of another request was received
	running int           // number of requests for which a handler runs
	wait    clientWait    // of these handlers
	element *list.Element // in unused, or nil
	since   time.Time     // when it became unused
}

func newHTTPConnections(n int) *httpConnections {
	return &httpConnections{
		max: n, minUnused: minUnused, stallTime: stallTime, open: make(map[net.Conn]*httpConnection), counts: make(map[netip.Prefix]int),
		freed: make(chan struct{}, 1),
	}
}

// limit returns a listener that accepts no more connections than the limit. Its server must be attached.
func (c *httpConnections) limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, connections: c, done: make(chan struct{})}
}

// attach observes the connections and the requests of a server.
func (c *httpConnections) attach(srv *http.Server) {
	handler := srv.Handler
	srv.ConnState = func(nc net.Conn, state http.ConnState) { c.changed(plainConnection(nc), state) }
	srv.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		c.mu.Lock()
		defer c.mu.Unlock()
		return context.WithValue(ctx, connectionKey{}, c.open[plainConnection(nc)])
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, _ := r.Context().Value(connectionKey{}).(*httpConnection); conn != nil {
			c.begin(conn)
			defer c.end(conn)
			w, r = conn.observed(w, r)
		}
		handler.ServeHTTP(w, r)
	})
}

// connectionKey is the key of the connection in the context of a request.
type connectionKey struct{}

// plainConnection returns the connection below TLS.
func plainConnection(nc net.Conn) net.Conn {
	if tls, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return tls.NetConn()
	}
	return nc
}

// errRefused is the error of a new connection for which there is no place.
var errRefused = errors.New("the client has too many connections")

// add adds a new connection. If there are too many, it closes the one that has been unused for the longest time. If none may be
// closed yet, it returns the time to wait. The error is errRefused.
func (c *httpConnections) add(nc net.Conn) (added bool, wait time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := &httpConnection{nc: nc, client: clientaddr.Network(nc.RemoteAddr())}
	if len(c.open) >= c.max {
		if wait, err := c.makeRoom(conn.client); wait > 0 || err != nil {
			return false, wait, err
		}
	}
	c.open[nc] = conn
	c.counts[conn.client]++
	c.setUnused(conn)
	return true, 0, nil
}

// makeRoom closes a connection, or returns the time to wait. The error is errRefused. c.mu is held.
func (c *httpConnections) makeRoom(client netip.Prefix) (wait time.Duration, err error) {
	oldest := c.unused.Front()
	if oldest == nil {
		return c.closeBusy(client)
	}
	victim := oldest.Value.(*httpConnection)
	if wait := c.minUnused - time.Since(victim.since); wait > 0 { // stalled clients must not leave one place to all others
		stalled, waitForStalled := c.slowest()
		if stalled == nil {
			return min(wait, waitForStalled), nil
		}
		victim = stalled
	}
	c.closeVictim(victim)
	return 0, nil
}

// closeVictim closes a connection. c.mu is held.
func (c *httpConnections) closeVictim(victim *httpConnection) {
	c.forget(victim)
	victim.nc.Close()
}

// setUnused makes a connection the last one to be closed. c.mu is held.
func (c *httpConnections) setUnused(conn *httpConnection) {
	if c.open[conn.nc] != conn {
		return // it was closed
	}
	c.setUsed(conn)
	conn.element, conn.since = c.unused.PushBack(conn), time.Now()
	c.wake()
}

// setUsed keeps a connection from being closed. c.mu is held.
func (c *httpConnections) setUsed(conn *httpConnection) {
	if conn.element != nil {
		c.unused.Remove(conn.element)
		conn.element = nil
	}
}

// forget removes a closed connection. c.mu is held.
func (c *httpConnections) forget(conn *httpConnection) {
	c.setUsed(conn)
	delete(c.open, conn.nc)
	if c.counts[conn.client]--; c.counts[conn.client] == 0 {
		delete(c.counts, conn.client)
	}
	c.wake()
}

// wake wakes a listener that waits for a place. It finds out itself whether there is one.
func (c *httpConnections) wake() {
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// changed notes a new state of a connection. After the handler of a request has ended, a server may still send the response. The
// connection becomes idle afterwards.
func (c *httpConnections) changed(nc net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[nc]
	if conn == nil {
		return
	}
	conn.idle = state == http.StateIdle
	switch state {
	case http.StateActive, http.StateIdle: // active from the first byte of a request on
		if conn.running == 0 {
			c.setUnused(conn)
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// begin notes that a handler runs for a request of a connection.
func (c *httpConnections) begin(conn *httpConnection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.running++; conn.running == 1 {
		conn.wait.reset()
	}
	c.setUsed(conn)
}

// end notes that a handler has ended. The handler of a stream that the client has reset may end after the connection became idle.
func (c *httpConnections) end(conn *httpConnection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.running--; conn.running == 0 && conn.idle {
		c.setUnused(conn)
	}
}

// A limitedListener accepts no more connections than the limit.
type limitedListener struct {
	net.Listener
	connections *httpConnections
	once        sync.Once
	done        chan struct{}
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	for {
		added, wait, err := l.connections.add(nc)
		switch {
		case added:
			return nc, nil
		case err != nil:
			nc.Close()
			if nc, err = l.Listener.Accept(); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-l.connections.freed:
		case <-time.After(wait):
		case <-l.done:
			nc.Close()
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}
