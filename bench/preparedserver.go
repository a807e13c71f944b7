package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// servePrepared serves a cache in a directory by net/http alone: what its handler sends is in memory after the first request. No server
// that is built on net/http can be faster.
func (l *lab) servePrepared(t *scope, cache string) *cacheServer {
	address := freeAddress(t)
	return startCacheServer(t, "net/http alone", address, taskCommand("prepared-server", address, cache))
}

// runPreparedServer serves the files of the directory args[1] on the address args[0].
func runPreparedServer(args []string) (time.Duration, error) {
	var files sync.Map // path of a URL → []byte
	return 0, http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contents, ok := files.Load(r.URL.Path)
		if !ok {
			read, err := os.ReadFile(filepath.Join(args[1], filepath.Clean(r.URL.Path)))
			if err != nil {
				http.NotFound(w, r)
				return
			}
			contents, _ = files.LoadOrStore(r.URL.Path, read)
		}
		body := contents.([]byte)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Content-Type", "application/x-nix-nar")
		w.Write(body)
	}))
}
