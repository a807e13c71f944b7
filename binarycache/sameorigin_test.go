package binarycache_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"pix/binarycache"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// With SameOrigin, no request reaches another server, whether a narinfo or a redirect names it.
func TestSameOrigin(t *testing.T) {
	var archive strings.Builder
	if err := nar.WriteFile(&archive, strings.NewReader("contents"), 8); err != nil {
		t.Fatal(err)
	}
	hash := nixhash.Sum(nixhash.SHA256, []byte(archive.String()))
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, archive.String())
	}))
	defer other.Close()
	path, err := storepath.DefaultDir.Parse("/nix/store/00000000000000000000000000000000-object")
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"narinfo": other.URL + "/nar/x.nar", "redirect": "nar/x.nar"} {
		n := &narinfo.NarInfo{PathInfo: store.PathInfo{Path: path, NARHash: hash, NARSize: uint64(archive.Len())}, URL: url, Compression: "none"}
		text, err := n.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		cache := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/nix-cache-info":
				io.WriteString(w, "StoreDir: /nix/store\n")
			case "/" + narinfo.FileName(path):
				w.Write(text)
			default:
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
			}
		}))
		defer cache.Close()
		for _, same := range []bool{false, true} {
			asked.Store(0)
			s, err := binarycache.Open(t.Context(), cache.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: same}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.NARFromPath(t.Context(), path)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				r.Close()
			}
			if same && (err == nil || !strings.Contains(err.Error(), "another server") || asked.Load() != 0) {
				t.Errorf("%s, SameOrigin: got %v, and %d requests", name, err, asked.Load())
			}
			if !same && (err != nil || asked.Load() != 1) {
				t.Errorf("%s: got %v, and %d requests", name, err, asked.Load())
			}
			s.Close()
		}
	}
}
