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
// It detects a change by any process without a system call: SQLite's index of the write-ahead log is in memory that all
// processes with the open database share. The index begins with a header that every transaction changes. To detect
// changes with a query would take as long as the query for the info itself.
//
// An info that a transaction of this process registers is cached without a query, and such a transaction does not clear
// the cache.
//
// Source: https://www.sqlite.org/walformat.html, "The WAL-Index Header".
type infoCache struct {
	index []byte // the beginning of the shared index; nil if it is not available, so that nothing is cached

	mu    sync.RWMutex
	of    walState // the header when the infos were read
	infos map[storepath.Path]*store.PathInfo
}

// maxInfos is how many infos are cached. They need about 20 MB.
const maxInfos = 1 << 14

// walHeader is the size of the header in bytes. The index contains two copies of it. A writer changes the second one
// first, so equal copies are consistent.
const walHeader = 48

// A walState is a copy of the header. It identifies the last transaction.
type walState [walHeader]byte

// openInfoCache returns a cache for an open database.
func openInfoCache(database string) *infoCache {
	return &infoCache{index: openWALIndex(database, 2*walHeader)}
}

// close releases the index.
func (c *infoCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index, c.infos = nil, nil
}

// state returns the current state of the database. It reports false while a process changes the header. The caller
// holds mu.
func (c *infoCache) state() (now walState, ok bool) {
	if c.index == nil {
		return now, false
	}
	copy(now[:], c.index)
	return now, string(now[:]) == string(c.index[walHeader:2*walHeader])
}

// get returns the info of a path, or nil if it is not cached. A caller that then reads the info can put it into the
// cache with the returned state.
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

// put caches an info that was read after since, unless the database has changed meanwhile.
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
	own.References, own.Signatures = slices.Clip(own.References), slices.Clip(own.Signatures) // so that append copies them
	c.remember(&own)
}

// isFollowedBy reports whether exactly one transaction lies between two states. At offset 8 the header has a counter of
// transactions, at 16 the length of the log, and at 32 a salt that changes when the log is reset.
func (before *walState) isFollowedBy(now *walState) bool {
	number := func(s *walState, at int) uint32 { return binary.NativeEndian.Uint32(s[at:]) }
	return number(now, 8) == number(before, 8)+1 && number(now, 16) > number(before, 16) &&
		string(now[32:40]) == string(before[32:40])
}

// A registered path is a path that a transaction has made valid, or whose info it has changed.
type registered struct {
	info  *store.PathInfo
	added bool
}

// advance updates the cache after a transaction that began at the state before and only registered paths.
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
		if change.added && isSmall(change.info) {
			c.remember(asStored(change.info))
		} else {
			delete(c.infos, change.info.Path)
		}
	}
}

// remember adds an info that the cache owns. The caller holds mu.
func (c *infoCache) remember(info *store.PathInfo) {
	if c.infos == nil || len(c.infos) >= maxInfos {
		c.infos = make(map[storepath.Path]*store.PathInfo)
	}
	c.infos[info.Path] = info
}

// asStored returns an info in the form in which it is read from the database.
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

// isSmall reports whether an info is small enough to be cached: an untrusted user may add paths with very many
// references.
func isSmall(info *store.PathInfo) bool {
	const maxReferences, maxSignatures = 1000, 64
	return len(info.References) <= maxReferences && len(info.Signatures) <= maxSignatures
}

// moment returns the current state of the database, if it is known.
func (c *infoCache) moment() (walState, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state()
}
