package cacheserver_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/store"
	"pix/store/memstore"
)

// A store is served as a binary cache below a prefix.
func Example() {
	ctx := context.Background()
	s := memstore.New(nil)
	path, err := s.AddTextToStore(ctx, "hello.txt", "hello world", nil)
	if err != nil {
		log.Fatal(err)
	}
	handler, err := cacheserver.New([]store.Store{s}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer handler.Close()
	mux := http.NewServeMux()
	mux.Handle("/cache/", http.StripPrefix("/cache", handler))
	server := httptest.NewServer(mux)
	defer server.Close()

	cache, err := binarycache.Open(ctx, server.URL+"/cache", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()
	info, err := cache.QueryPathInfo(ctx, path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Path, info.NARSize)
	// Output: /nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt 128
}
