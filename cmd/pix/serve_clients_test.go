package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// An addressedConn is a connection of a client with an address.
type addressedConn struct {
	net.Conn
	remote net.Addr
	closed chan struct{}
}

func (c *addressedConn) RemoteAddr() net.Addr { return c.remote }

func (c *addressedConn) Close() error { close(c.closed); return nil }

func (c *addressedConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func connFrom(address string) *addressedConn {
	return &addressedConn{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)), closed: make(chan struct{})}
}

// addBusy adds a connection with a request.
func addBusy(t *testing.T, c *httpConnections, address string) *addressedConn {
	t.Helper()
	nc := connFrom(address)
	if added, wait, err := c.add(nc); !added {
		t.Fatalf("%s: wait %v, %v", address, wait, err)
	}
	c.begin(c.open[nc])
	return nc
}

// A client with more than half of the places, all with requests, loses connections to other clients, and gets no new one.
func TestGreedyClient(t *testing.T) {
	for _, addresses := range [][2]string{{"192.0.2.1:1", "192.0.2.2:1"}, {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1"}} {
		greedy, other := addresses[0], addresses[1]
		c := newHTTPConnections(4)
		all := []*addressedConn{addBusy(t, c, greedy), addBusy(t, c, greedy), addBusy(t, c, greedy), addBusy(t, c, greedy)}
		if added, _, err := c.add(connFrom(greedy)); added || !errors.Is(err, errRefused) {
			t.Errorf("the greedy client got another connection: %t, %v", added, err)
		}
		for range 2 {
			if addBusy(t, c, other).isClosed() {
				t.Error("the other client was closed")
			}
		}
		var closed int
		for _, nc := range all {
			if nc.isClosed() {
				closed++
			}
		}
		if closed != 2 || all[0].isClosed() {
			t.Errorf("%d connections were closed, the first one: %t", closed, all[0].isClosed())
		}
		if added, wait, err := c.add(connFrom(other)); added || wait <= 0 || err != nil {
			t.Errorf("no client has more than half of the places, but the result is %t, %v, %v", added, wait, err)
		}
	}
}

// Connections of a proxy on this machine are not the ones of one client.
func TestLocalClients(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"} {
		c := newHTTPConnections(2)
		all := []*addressedConn{addBusy(t, c, address), addBusy(t, c, address)}
		if added, wait, err := c.add(connFrom("192.0.2.1:1")); added || wait <= 0 || err != nil {
			t.Errorf("%s: %t, %v, %v", address, added, wait, err)
		}
		if all[0].isClosed() || all[1].isClosed() {
			t.Errorf("%s: a connection was closed", address)
		}
	}
}
