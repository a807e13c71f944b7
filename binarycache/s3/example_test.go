package s3_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"pix/binarycache/s3"
)

// A public bucket needs no credentials.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "StoreDir: /nix/store")
	}))
	defer server.Close()
	cache, err := s3.OpenWith(context.Background(), "s3://bucket?endpoint="+server.URL, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cache.Close()
	fmt.Println(cache.URI(), cache.Info().StoreDir)
	// Output: s3://bucket /nix/store
}
