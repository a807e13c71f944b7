package binarycache

import (
	"container/list"
	"sync"
	"time"

	"pix/narinfo"
)

// A narInfoCache caches narinfos, and the absence of narinfos, up to a number of bytes. It drops the least
// recently used entry first. A nil narInfoCache caches nothing.
type narInfoCache struct {
	limit int // bytes

	mu    sync.Mutex
	byKey map[string]*list.Element
	order list.List // of *cachedNarInfo, the most recently used one at the front
	size  int
}

// A cachedNarInfo is a cached narinfo, or the absence of one.
type cachedNarInfo struct {
	hashPart string
	info     *narinfo.NarInfo // nil if there is none
	since    time.Time
	size     int
}

// entrySize is about the number of bytes that an entry takes besides its narinfo.
const entrySize = 512

func newNarInfoCache(o *HTTPOptions) *narInfoCache {
	return &narInfoCache{limit: o.CacheSize, byKey: make(map[string]*list.Element)}
}

// get returns the narinfo of a hash part, or nil if the cache has none. known reports whether there is an
// entry that is younger than the TTL of the options.
func (c *narInfoCache) get(hashPart string, opts *HTTPOptions) (info *narinfo.NarInfo, known bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[hashPart]
	if e == nil {
		return nil, false
	}
	r := e.Value.(*cachedNarInfo)
	ttl := opts.PositiveTTL
	if r.info == nil {
		ttl = opts.NegativeTTL
	}
	if time.Since(r.since) >= ttl { // keep the entry: calls may have different TTLs
		return nil, false
	}
	c.order.MoveToFront(e)
	return r.info, true
}

// put caches a narinfo whose text has length bytes, or with nil the absence of one.
func (c *narInfoCache) put(hashPart string, info *narinfo.NarInfo, length int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropKey(hashPart)
	size := entrySize + 2*length // the text, and the values parsed from it
	if size > c.limit {
		return
	}
	for c.size+size > c.limit {
		c.drop(c.order.Back())
	}
	c.byKey[hashPart] = c.order.PushFront(&cachedNarInfo{hashPart, info, time.Now(), size})
	c.size += size
}

// forget removes the entry of a hash part.
func (c *narInfoCache) forget(hashPart string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropKey(hashPart)
}

func (c *narInfoCache) dropKey(hashPart string) {
	if e := c.byKey[hashPart]; e != nil {
		c.drop(e)
	}
}

func (c *narInfoCache) drop(e *list.Element) {
	r := c.order.Remove(e).(*cachedNarInfo)
	delete(c.byKey, r.hashPart)
	c.size -= r.size
}
