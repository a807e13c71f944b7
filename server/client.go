package server

import (
	"fmt"
	"sync/atomic"
)

// A client is an untrusted user, with all connections.
type client struct {
	uid   uint32
	conns int          // guarded by the server
	roots atomic.Int64 // temporary roots that they have asked for
}

// maxTempRoots is how many temporary roots a user who is not trusted may ask for at once. Each takes
// some 150 bytes of memory, and a hundred on the disk, until the connection ends.
const maxTempRoots = 1 << 19

// countTempRoot returns an error if the client has too many temporary roots already.
func (c *conn) countTempRoots(n int) error {
	if c.trusted {
		return nil
	}
	if c.client.roots.Add(int64(n)) > maxTempRoots {
		c.client.roots.Add(-int64(n))
		return fmt.Errorf("you have asked for %d temporary roots, and may have no more: you are not a trusted user", maxTempRoots)
	}
	c.roots += int64(n)
	return nil
}
