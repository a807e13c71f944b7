package binarycache_test

import (
	"net/http"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/daemon"
	"pix/daemontest"
	"pix/store"
)

// A daemon can serve a cache and add to it, as with any other store.
func TestServed(t *testing.T) {
	src, paths := chain(t, 20)
	cache := open(t, "file://"+t.TempDir(), nil)
	d := daemontest.New(t, &daemontest.Options{Store: cache})
	pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for range 2 { // the second time the cache has all paths
		if _, err := store.Copy(t.Context(), pool, src, paths[19:], &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil {
			t.Fatal(err)
		}
	}
	valid, err := cache.QueryValidPaths(t.Context(), paths, false)
	if err != nil || len(valid) != 20 {
		t.Errorf("%d are valid, %v", len(valid), err)
	}
	for _, path := range paths {
		if archiveOf(t, pool, path) != archiveOf(t, src, path) {
			t.Errorf("the archives of %s differ", path)
		}
	}
}

// Small files may be compressed in transit, with or without being offered.
func TestContentEncodings(t *testing.T) {
	for encoding, method := range map[string]string{"gzip": "gzip", "x-gzip": "gzip", "br": "br", "zstd": "zstd", "xz": "xz", "identity": "none", "none": "none"} {
		f := newFake()
		n := f.put(t, "x", "none", 10)
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/nar/") {
				return false
			}
			encoded(w, encoding, []byte(compress(t, method, f.files[r.URL.Path[1:]])))
			return true
		}
		c := f.open(t, binarycache.HTTPOptions{})
		if _, err := readAll(t.Context(), c, n.Path); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}
