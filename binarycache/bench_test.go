package binarycache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/localstore"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// copied are the objects that benchmarks copy: 500 of 100 bytes to 20 KB, and 8 of 2 MiB.
func copied(b *testing.B) (*memstore.Store, []storepath.Path, int64) {
	b.Helper()
	src := memstore.New(nil)
	var paths []storepath.Path
	size := 0
	for i := range 508 {
		text := strings.Repeat(fmt.Sprintf("%d %d\n", i, i*i), 10+(i*37)%2000)
		if i >= 500 {
			text = strings.Repeat(text, 1+(2<<20)/len(text))
		}
		var refs []storepath.Path
		if i > 0 {
			refs = []storepath.Path{paths[i/2]}
		}
		path, err := store.AddText(b.Context(), src, fmt.Sprint("text-", i), text, refs)
		if err != nil {
			b.Fatal(err)
		}
		paths, size = append(paths, path), size+len(text)
	}
	return src, paths, int64(size)
}

// benchmarkCopy copies them to a new store in each iteration.
func benchmarkCopy(b *testing.B, src store.Store, paths []storepath.Path, size int64, open func() store.Store) {
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		dst := open()
		b.StartTimer()
		if _, err := store.Copy(b.Context(), dst, src, paths, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		dst.Close()
		b.StartTimer()
	}
}

func BenchmarkCopy(b *testing.B) {
	src, paths, size := copied(b)
	openCache := func(uri string) *binarycache.Store {
		c, err := binarycache.Open(b.Context(), uri, nil)
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	openLocal := func() store.Store {
		s, err := localstore.Open(b.Context(), &localstore.Options{Root: b.TempDir(), NoSignatures: true})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	dir := b.TempDir()
	if _, err := store.Copy(b.Context(), openCache("file://"+dir), src, paths, nil); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	b.Run("memory to local", func(b *testing.B) { benchmarkCopy(b, src, paths, size, openLocal) })
	b.Run("HTTP to local", func(b *testing.B) {
		c := openCache(server.URL)
		defer c.Close()
		benchmarkCopy(b, c, paths, size, openLocal)
	})
	b.Run("memory to cache", func(b *testing.B) {
		benchmarkCopy(b, src, paths, size, func() store.Store { return openCache("file://" + b.TempDir()) })
	})
	b.Run("memory to memory", func(b *testing.B) {
		benchmarkCopy(b, src, paths, size, func() store.Store { return memstore.New(nil) })
	})
}
