package nixdb

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"pix/store"
	"pix/storepath"
)

// An infoCache caches path infos as long as the database does not change.
//
// A change by any process is visible in memory: SQLite's index
// of the write-ahead log, which all who have the database open share, begins with a header that
// every transaction changes. A cache that did not know that would have to ask the database,
// which takes as long as the question itself.
//
// What a transaction of this process registers is cached without a query, and what was cached
// before it stays so.
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

// get returns the info of a path, or nil if it is not cached. An info that is then read may be put
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

// put caches an info, unless the database has changed since.
func (c *infoCache) put(info *store.PathInfo, since walState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, ok := c.state(); !ok || now != since {
		return
	}
	if c.of != since {
		c.of, c.infos = since, nil
	}
	own := *info
	own.References, own.Signatures = slices.Clip(own.References), slices.Clip(own.Signatures) // appending to them copies
	c.remember(&own)
}

// isFollowedBy reports whether now is the state after exactly one more transaction. The header
// has a counter of transactions, at 8; the length of the log, at 16; and a salt, at 32, that changes when the
// log begins again.
func (before *walState) isFollowedBy(now *walState) bool {
	number := func(s *walState, at int) uint32 { return binary.NativeEndian.Uint32(s[at:]) }
	return number(now, 8) == number(before, 8)+1 && number(now, 16) > number(before, 16) &&
		string(now[32:40]) == string(before[32:40])
}

// A registered path is one that a transaction made valid, or whose info it changed.
type registered struct {
	info  *store.PathInfo
	added bool
}

// advance is for a transaction that began at that state, and did nothing but register paths.
func (c *infoCache) advance(before walState, changes []registered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, ok := c.state()
	if !ok || !before.isFollowedBy(&now) {
		return
	}
	if c.of != before {
		c.infos = nil
	}
	c.of = now
	for _, change := range changes {
		if change.added && isUsual(change.info) {
			c.remember(asStored(change.info))
		} else {
			delete(c.infos, change.info.Path)
		}
	}
}

// remember adds an info, which is the cache's own. The cache must be locked.
func (c *infoCache) remember(info *store.PathInfo) {
	if c.infos == nil || len(c.infos) >= maxInfos {
		c.infos = make(map[storepath.Path]*store.PathInfo)
	}
	c.infos[info.Path] = info
}

// asStored returns an info that was put into the database as it is read from there.
func asStored(info *store.PathInfo) *store.PathInfo {
	own := *info
	own.RegistrationTime = time.Time{}
	if seconds := info.RegistrationTime.Unix(); seconds != 0 {
		own.RegistrationTime = time.Unix(seconds, 0).UTC()
	}
	own.References, own.Signatures = nil, nil
	if len(info.References) > 0 {
		own.References = slices.Clone(info.References)
		slices.Sort(own.References)
		own.References = slices.Clip(slices.Compact(own.References))
	}
	if len(info.Signatures) > 0 {
		own.Signatures = slices.Clip(strings.Fields(JoinSignatures(info.Signatures)))
	}
	return &own
}

// isUsual reports whether an info is small enough to be cached. Every user may add paths with very many
// references.
func isUsual(info *store.PathInfo) bool {
	const mostReferences, mostSignatures = 1000, 64
	return len(info.References) <= mostReferences && len(info.Signatures) <= mostSignatures
}

// moment returns at which transaction the database is, if that is known.
func (c *infoCache) moment() (walState, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state()
}
