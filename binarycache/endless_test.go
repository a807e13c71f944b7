package binarycache_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/nixhash"
)

// emptyPieces are parts of compressed files that have no contents, and that can be repeated.
// A decoder reads such a file without returning.
var emptyPieces = map[string]string{
	"zstd":  "\x50\x2a\x4d\x18\x04\x00\x00\x00skip",
	"lz4":   "\x50\x2a\x4d\x18\x04\x00\x00\x00skip",
	"bzip2": "BZh9\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00",
}

// The end of the context ends a read while a decoder waits for a silent or a slow server, or reads a file that has no
// contents and does not end. No goroutine remains, or synctest would fail.
func TestCancelledDecoders(t *testing.T) {
	const pause = 10 * time.Millisecond
	for _, method := range []string{"none", "xz", "zstd", "gzip", "br", "bzip2", "lz4"} {
		file := ""
		empty := emptyPieces[method]
		if method != "bzip2" && method != "lz4" { // there is no encoder
			file = compress(t, method, fileNAR(noise(100_000)))
		}
		if method == "xz" || method == "gzip" {
			empty = compress(t, method, "")
		}
		send := func(w http.ResponseWriter, text string) error {
			_, err := io.WriteString(w, text)
			w.(http.Flusher).Flush()
			return err
		}
		// enough ends the context of the client.
		bodies := map[string]func(w http.ResponseWriter, enough func()){
			"stalls": func(w http.ResponseWriter, enough func()) {
				send(w, file[:len(file)/2])
				time.Sleep(pause)
				enough()
			},
			"is slow": func(w http.ResponseWriter, enough func()) {
				for i := 0; i < len(file) && send(w, file[i:i+1]) == nil; i++ {
					if time.Sleep(pause); i == len(file)/1000 {
						enough()
					}
				}
			},
			"is endless": func(w http.ResponseWriter, enough func()) {
				for i := 0; send(w, empty) == nil; i++ {
					if i == 1000 {
						enough()
					}
				}
			},
			"is endless and slow": func(w http.ResponseWriter, enough func()) {
				for i := 0; send(w, empty) == nil; i++ {
					if time.Sleep(pause); i == 100 {
						enough()
					}
				}
			},
		}
		for name, body := range bodies {
			if strings.Contains(name, "endless") && empty == "" || !strings.Contains(name, "endless") && file == "" {
				continue
			}
			t.Run(method+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testCancelledDecoder(t, method, body) })
			})
		}
	}
}

func testCancelledDecoder(t *testing.T, method string, body func(w http.ResponseWriter, enough func())) {
	f := newFake()
	n := f.put(t, "x", "none", 100_000)
	n.Compression, n.FileHash, n.FileSize = method, nixhash.Hash{}, 0
	f.putNarInfo(t, n)
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var end time.Time
	served := make(chan struct{})
	f.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/nar/") {
			return false
		}
		defer close(served)
		body(w, func() {
			end = time.Now()
			cancel(reason)
		})
		hang(r)
		return true
	}
	c := f.open(t, binarycache.HTTPOptions{})
	_, err := readAll(ctx, c, n.Path)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
		t.Errorf("%v", err)
	}
	if took := time.Since(end); took > time.Millisecond {
		t.Errorf("the read ended %v after its context", took)
	}
	<-served
}
