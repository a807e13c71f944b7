package cacheserver_test

import (
	"math"
	"net/http"
	"testing"

	"pix/narinfo"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A path that was served and deleted is absent, and served again when it is valid again.
func TestDeletedPath(t *testing.T) {
	s := memstore.New(nil)
	h := newHandler(t, nil, memstore.New(nil), s)
	for range 2 {
		var path storepath.Path
		if err := store.InSession(t.Context(), s, func(s store.Store) error { // its temporary root ends with the session
			path = addText(t, s, "x", "hello")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			narInfoOf(t, h, path)
		}
		if _, err := store.CollectGarbage(t.Context(), s, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{path}, MaxFreed: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
		if w := ask(h, "GET", "/"+narinfo.FileName(path)); w.Code != http.StatusNotFound {
			t.Errorf("a deleted path has status %d", w.Code)
		}
	}
}
