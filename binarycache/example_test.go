package binarycache_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"

	"pix/binarycache"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A path is copied into a cache, and from there, through a web server, into another store.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	src, dst := memstore.New(nil), memstore.New(nil)
	path, err := src.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	if err != nil {
		log.Fatal(err)
	}
	cache, err := binarycache.Open(ctx, "file://"+dir+"?compression=xz", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	if _, err := store.Copy(ctx, cache, src, []storepath.Path{path}, nil); err != nil {
		log.Fatal(err)
	}

	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	remote, err := binarycache.Open(ctx, server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer remote.Close()
	if _, err := store.Copy(ctx, dst, remote, []storepath.Path{path}, nil); err != nil {
		log.Fatal(err)
	}
	info, err := dst.QueryPathInfo(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Path, info.NARSize)
	// Output: /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt 128
}

func ExampleParseCacheInfo() {
	info, err := binarycache.ParseCacheInfo("StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n")
	fmt.Println(info.StoreDir, info.WantMassQuery, info.Priority, err)
	// Output: /nix/store true 40 <nil>
}
