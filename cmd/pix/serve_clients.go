package main

import (
	"net/netip"
	"time"
)

// largest returns the client that holds more than half of the places, or the zero Prefix. c.mu is held.
func (c *httpConnections) largest() netip.Prefix {
	for client, n := range c.counts {
		if n > c.max/2 && n > 1 {
			return client
		}
	}
	return netip.Prefix{}
}

// closeOneOf makes room for a new connection when all connections have requests. A client that sends bodies slowly, or receives
// responses slowly, could keep all places forever. So a client with more than half of the places loses the connection whose request
// began last, and gets no new one. Without such a client, closeOneOf returns the time to wait. c.mu is held.
func (c *httpConnections) closeOneOf(largest, client netip.Prefix) (wait time.Duration, err error) {
	switch largest {
	case netip.Prefix{}:
		return time.Minute, nil
	case client: // the listener must not wait with it: connections of other clients come after it
		return 0, errRefused
	}
	var victim *httpConnection
	for _, conn := range c.open {
		if conn.client == largest && (victim == nil || conn.since.After(victim.since)) {
			victim = conn
		}
	}
	c.closeVictim(victim)
	return 0, nil
}
