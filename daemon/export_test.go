package daemon

import "time"

// StayIdle makes readLoop wait until it is needed, however long there is no query. It must be
// called before the first query.
func (c *Conn) StayIdle() { c.inline.limit = time.Hour }

// IdleFor makes readLoop read after this time without a query. It must be called before the first
// query.
func (c *Conn) IdleFor(limit time.Duration) { c.inline.limit = limit }

// IsInline reports whether the next query is made inline.
func (c *Conn) IsInline() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inline.reader == noReader
}
