package localstore

import (
	"slices"
	"sync"

	"pix/store"
	"pix/storepath"
)

// An infoCache remembers what is known of paths, as long as the database does not change.
//
// That nobody has changed it, no other process either, is seen in memory alone: SQLite's index
// of the write-ahead log, which all who have the database open share, begins with a header that
// every transaction changes. A cache that did not know that would have to ask the database,
// which takes as long as the question itself.
//
// Source: https://www.sqlite.org/walformat.html, "The WAL-Index Header".
type infoCache struct {
	index []byte // the beginning of the index, as it is now; nil if there is none: then nothing is remembered

	mu    sync.RWMutex
	of    walState // what the header was when the infos were read
	infos map[storepath.Path]*store.PathInfo
}

// maxInfos is how many infos are remembered. They take some 20 MB.
const maxInfos = 1 << 14

// walHeader is the size of the header in bytes. There are two copies of it, and one who writes
// changes the second first.
const walHeader = 48

// A walState says at which transaction a database is.
type walState [walHeader]byte

// openInfoCache returns the cache of a database that is open, and stays so.
func openInfoCache(database string) *infoCache {
	return &infoCache{index: openWALIndex(database, 2*walHeader)}
}

// close lets go of the index.
func (c *infoCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index, c.infos = nil, nil
}

// state returns at which transaction the database is. It is not ok while one is being written.
// The cache must be locked.
func (c *infoCache) state() (now walState, ok bool) {
	if c.index == nil {
		return now, false
	}
	copy(now[:], c.index)
	return now, string(now[:]) == string(c.index[walHeader:2*walHeader])
}

// get returns what is known of a path, or nil if that must be asked. What is asked may be put
// into the cache with the state that comes with it.
func (c *infoCache) get(path storepath.Path) (info *store.PathInfo, now walState, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if now, ok = c.state(); ok && now == c.of {
		info = c.infos[path]
	}
	if info != nil {
		own := *info
		info = &own
	}
	return info, now, ok
}

// put remembers what was read of a path, unless the database has changed since.
func (c *infoCache) put(info *store.PathInfo, since walState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, ok := c.state(); !ok || now != since {
		return
	}
	if c.of != since || len(c.infos) >= maxInfos {
		c.of, c.infos = since, make(map[storepath.Path]*store.PathInfo)
	}
	own := *info
	own.References, own.Signatures = slices.Clip(own.References), slices.Clip(own.Signatures) // appending to them copies
	c.infos[info.Path] = &own
}

// A moment is one between two transactions of a database.
type moment struct {
	db    *database
	state walState
	known bool
}

// moment returns the present one.
func (s *shared) moment() (m moment) {
	s.mu.RLock()
	m.db = s.db
	s.mu.RUnlock()
	m.state, m.known = m.db.infos.moment()
	return m
}

// isNow reports whether it is known that there was no transaction since, in a database that is
// still there.
func (m moment) isNow() bool {
	now, known := m.db.infos.moment()
	return known && m.known && now == m.state && !m.db.isGone(true)
}

func (c *infoCache) moment() (walState, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state()
}
