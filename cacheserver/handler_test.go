package cacheserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func addText(t *testing.T, s store.Store, name, text string, references ...storepath.Path) storepath.Path {
	t.Helper()
	path, err := store.AddText(t.Context(), s, name, text, references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// serve serves stores over HTTP.
func serve(t *testing.T, opts *cacheserver.Options, stores ...store.Store) *httptest.Server {
	t.Helper()
	h, err := cacheserver.New(stores, opts)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() { srv.Close(); h.Close() })
	return srv
}

// A closure that is copied from the server is the same as one that is copied from the store.
func TestCopy(t *testing.T) {
	src := memstore.New(nil)
	dep := addText(t, src, "dep", "hello")
	root := addText(t, src, "root", "I need "+string(dep), dep)
	srv := serve(t, nil, src)
	cache, err := binarycache.Open(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	dst := memstore.New(nil)
	if _, err := store.Copy(t.Context(), dst, cache, []storepath.Path{root}, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range []storepath.Path{dep, root} {
		r, err := store.ReadNAR(t.Context(), dst, p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		info, _ := src.QueryPathInfo(t.Context(), p)
		if err != nil || nixhash.Sum(nixhash.SHA256, b) != info.NARHash {
			t.Errorf("%s: %v", p, err)
		}
		r.Close()
	}
	if resp, err := http.Get(srv.URL + "/nix-cache-info"); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v", err)
	}
}
