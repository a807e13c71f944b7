package cacheserver_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"pix/cacheserver"
	"pix/store/memstore"
)

// A blockedWriter is a client that receives nothing until the test releases it.
type blockedWriter struct {
	*httptest.ResponseRecorder
	blocked chan<- bool
	release <-chan bool
}

func (w *blockedWriter) Write(p []byte) (int, error) {
	w.blocked <- true
	<-w.release
	return w.ResponseRecorder.Write(p)
}

// Many clients that ask for compression and receive slowly do not fill the memory with archives.
func TestEncodedArchivesAreBounded(t *testing.T) {
	const clients, places = 10, 2
	contents := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(contents)
	src := memstore.New(nil)
	path := addSigned(t, src, "random", fileArchive(string(contents))).Path
	opts := &cacheserver.Options{Compress: true, MaxArchives: places}
	warm := newHandler(t, opts, src)
	url := archiveURLOf(t, warm, path)
	ask(warm, http.MethodGet, url, "Accept-Encoding", "zstd") // creates the channels of the encoder outside of the bubble
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, opts, src)
		blocked, release := make(chan bool, clients), make(chan bool)
		var done sync.WaitGroup
		for range clients {
			w := &blockedWriter{httptest.NewRecorder(), blocked, release}
			done.Go(func() {
				r := httptest.NewRequest(http.MethodGet, url, nil)
				r.Header.Set("Accept-Encoding", "zstd")
				h.ServeHTTP(w, r)
				if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "zstd" || fmt.Sprint(w.Body.Len()) != w.Header().Get("Content-Length") {
					t.Errorf("status %d, header %v, %d bytes", w.Code, w.Header(), w.Body.Len())
				}
			})
		}
		synctest.Wait()
		if n := len(blocked); n != places {
			t.Errorf("%d archives are in memory, want %d", n, places)
		}
		close(release)
		done.Wait()
	})
}
