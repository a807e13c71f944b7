package cacheserver_test

import (
	"math"
	"net/http"
	"slices"
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

// A narinfo has the signatures that the store has at the moment of the request, although narinfos are kept.
func TestNewSignature(t *testing.T) {
	s := memstore.New(nil)
	h := newHandler(t, nil, s)
	path := addText(t, s, "x", "hello")
	before := ask(h, "GET", "/"+narinfo.FileName(path))
	for _, text := range []string{"a:c2ln", "b:c2ln"} {
		narInfoOf(t, h, path)
		if err := s.AddSignatures(t.Context(), path, []string{text}); err != nil {
			t.Fatal(err)
		}
		n := narInfoOf(t, h, path)
		if !slices.Contains(n.Signatures, text) {
			t.Errorf("the narinfo does not have the signature %s: %v", text, n.Signatures)
		}
		if after := ask(h, "GET", "/"+narinfo.FileName(path)); after.Header().Get("Etag") == before.Header().Get("Etag") {
			t.Error("narinfos with different signatures have the same entity tag")
		}
	}
}
