package binarycache

import (
	"container/list"
	"sync"
	"time"

	"pix/narinfo"
)

// A memory remembers narinfos, and that there are none, up to a number of bytes. The least recently used
// entry is dropped first. A nil memory remembers nothing.
type memory struct {
	limit int // bytes

	mu    sync.Mutex
	byKey map[string]*list.Element
	order list.List // of *remembered, that which was asked for last at the front
	size  int
}

// A remembered is a narinfo, or that there is none.
type remembered struct {
	hashPart string
	info     *narinfo.NarInfo // nil if there is none
	since    time.Time
	size     int
}

// entrySize is about how many bytes an entry takes besides its narinfo.
const entrySize = 512

func newMemory(o *HTTPOptions) *memory {
	return &memory{limit: o.CacheSize, byKey: make(map[string]*list.Element)}
}

// get returns the narinfo of a hash part, or nil if the cache has none. It is known if it was put within
// the TTL of the options.
func (m *memory) get(hashPart string, opts *HTTPOptions) (info *narinfo.NarInfo, known bool) {
	if m == nil {
		return nil, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byKey[hashPart]
	if e == nil {
		return nil, false
	}
	r := e.Value.(*remembered)
	ttl := opts.PositiveTTL
	if r.info == nil {
		ttl = opts.NegativeTTL
	}
	if time.Since(r.since) >= ttl { // it stays, for calls with another TTL
		return nil, false
	}
	m.order.MoveToFront(e)
	return r.info, true
}

// put remembers a narinfo that was made of so many bytes, or with nil that there is none.
func (m *memory) put(hashPart string, info *narinfo.NarInfo, length int) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropKey(hashPart)
	size := entrySize + 2*length // the text, and what points into it
	if size > m.limit {
		return
	}
	for m.size+size > m.limit {
		m.drop(m.order.Back())
	}
	m.byKey[hashPart] = m.order.PushFront(&remembered{hashPart, info, time.Now(), size})
	m.size += size
}

// forget lets go of what is remembered of a hash part.
func (m *memory) forget(hashPart string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropKey(hashPart)
}

func (m *memory) dropKey(hashPart string) {
	if e := m.byKey[hashPart]; e != nil {
		m.drop(e)
	}
}

func (m *memory) drop(e *list.Element) {
	r := m.order.Remove(e).(*remembered)
	delete(m.byKey, r.hashPart)
	m.size -= r.size
}
