package cacheserver

import (
	"slices"
	"sync"

	"pix/store"
	"pix/storepath"
)

const (
	maxNarInfoTexts = 16 << 20 // bytes of narinfos that are kept
	maxNarInfoText  = 64 << 10 // bytes of a narinfo that is kept
)

// narInfoTexts keeps narinfos with the infos from which they were made. Printing a narinfo and its entity tag takes more processor
// time than the query. The handler queries the store for each request, and sends a kept narinfo only if the info is equal. So the
// narinfo of a path that was deleted, registered again or signed is never an old one.
type narInfoTexts struct {
	mu     sync.RWMutex
	size   int // bytes of all texts
	byPath map[storepath.Path]*narInfoText
}

// A narInfoText is a narinfo. It does not change.
type narInfoText struct {
	info    *store.PathInfo
	checked bool // the store checks content addresses; the server's keys sign more paths then
	body    []byte
	etag    string
}

// find returns the narinfo of an info, or nil. checked reports whether the store of the info checks content addresses.
func (t *narInfoTexts) find(info *store.PathInfo, checked bool) *narInfoText {
	t.mu.RLock()
	text := t.byPath[info.Path]
	t.mu.RUnlock()
	if text == nil || text.checked != checked || !haveSameNarInfo(text.info, info) {
		return nil
	}
	return text
}

// add keeps a narinfo. When there are too many, it drops the others.
func (t *narInfoTexts) add(text *narInfoText) {
	if len(text.body) > maxNarInfoText {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.byPath[text.info.Path]; old != nil {
		t.size -= len(old.body)
		delete(t.byPath, text.info.Path) // the map keeps its first key, whose string would belong to the old info
	}
	if t.byPath == nil || t.size+len(text.body) > maxNarInfoTexts {
		t.byPath, t.size = make(map[storepath.Path]*narInfoText), 0
	}
	t.byPath[text.info.Path] = text
	t.size += len(text.body)
}

// haveSameNarInfo reports whether a handler sends the same narinfo for two infos.
func haveSameNarInfo(a, b *store.PathInfo) bool {
	return a.Path == b.Path && a.NARHash == b.NARHash && a.NARSize == b.NARSize && a.Deriver == b.Deriver && a.CA == b.CA &&
		a.Ultimate == b.Ultimate && slices.Equal(a.References, b.References) && slices.Equal(a.Signatures, b.Signatures)
}
