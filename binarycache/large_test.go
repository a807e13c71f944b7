package binarycache_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/narinfo"
)

// A large archive has a connection of HTTP/1.1. Small files, and all files of a server that has
// only HTTP/2, use HTTP/2.
func TestLargeArchiveConnection(t *testing.T) {
	testenv.NoLeak(t)
	f := newFake()
	small, large := f.put(t, "small", "zstd", 1000), f.put(t, "large", "none", 16<<20)
	var mu sync.Mutex
	protocols := make(map[string]string)
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		protocols[strings.TrimPrefix(r.URL.Path, "/")] = r.Proto
		return false
	}
	for _, onlyHTTP2 := range []bool{false, true} {
		server := serveTLS(t, f, !onlyHTTP2)
		c := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{})
		defer c.Close()
		for _, n := range []*narinfo.NarInfo{small, large} {
			if _, err := readAll(t.Context(), c, n.Path); err != nil {
				t.Fatal(err)
			}
		}
		want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[onlyHTTP2]
		if protocols[small.URL] != "HTTP/2.0" || protocols[large.URL] != want {
			t.Errorf("the small archive came by %s, the large one by %s, want %s", protocols[small.URL], protocols[large.URL], want)
		}
	}
}
