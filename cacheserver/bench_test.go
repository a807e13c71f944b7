package cacheserver_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"pix/cacheserver"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A discarding is a response that is not sent.
type discarding struct {
	header http.Header
	status int
}

func (w *discarding) Header() http.Header         { return w.header }
func (w *discarding) WriteHeader(status int)      { w.status = status }
func (w *discarding) Write(p []byte) (int, error) { return len(p), nil }

// benchmarkStore returns a store in a directory with n texts. Each refers to the ten before it.
func benchmarkStore(b *testing.B, n int) (*localstore.Store, []storepath.Path) {
	b.Helper()
	s, err := localstore.Open(b.Context(), &localstore.Options{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	var paths []storepath.Path
	batch := store.NewBatch(s)
	for i := range n {
		p, err := batch.AddText(fmt.Sprintf("text-%d", i), fmt.Sprint(i), paths[max(0, i-10):])
		if err != nil {
			b.Fatal(err)
		}
		paths = append(paths, p)
	}
	if err := batch.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s, paths
}

func BenchmarkNarInfo(b *testing.B) {
	s, paths := benchmarkStore(b, 1000)
	key, err := signature.GenerateKey("bench-1")
	if err != nil {
		b.Fatal(err)
	}
	for name, opts := range map[string]*cacheserver.Options{"plain": nil, "signed": {Keys: []signature.SecretKey{key}}} {
		b.Run(name, func(b *testing.B) {
			h, err := cacheserver.New([]store.Store{s}, opts)
			if err != nil {
				b.Fatal(err)
			}
			defer h.Close()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w := &discarding{header: make(http.Header)}
				h.ServeHTTP(w, httptest.NewRequest("GET", "/"+paths[i%len(paths)].HashPart()+".narinfo", nil))
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}
