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

// closeBusy makes room for a new connection when all connections have requests. Clients that send bodies slowly, or receive
// responses slowly, could keep all places forever. So the slowest client that has stalled loses its connection. If there is
// none, but a client with more than half of the places, that one loses the connection whose request began last, and gets no
// new one. Otherwise closeBusy returns the time to wait. c.mu is held.
func (c *httpConnections) closeBusy(client netip.Prefix) (wait time.Duration, err error) {
	victim, wait := c.slowest()
	largest := c.largest()
	switch {
	case largest.IsValid() && largest == client: // the listener must not wait with it: connections of other clients come after it
		return 0, errRefused
	case victim == nil && !largest.IsValid():
		return wait, nil
	case victim == nil:
		victim = c.newestOf(largest)
	}
	c.closeVictim(victim)
	return 0, nil
}

// newestOf returns the connection of a client whose request began last. c.mu is held.
func (c *httpConnections) newestOf(client netip.Prefix) (newest *httpConnection) {
	for _, conn := range c.open {
		if conn.client == client && (newest == nil || conn.since.After(newest.since)) {
			newest = conn
		}
	}
	return newest
}
