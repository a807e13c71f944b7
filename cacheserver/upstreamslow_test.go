package cacheserver_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pix/cacheserver"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
)

// A stalledWorld is a server with a store of this machine and an upstream cache whose archives stall after their first half.
type stalledWorld struct {
	h             http.Handler
	local, remote *store.PathInfo // with contents of the same size
	kept          *store.PathInfo // in the upstream cache, and already fetched
	release       chan struct{}
}

// newStalledWorld returns a server with few places, and archives of size bytes. dir is the directory of the upstream cache.
func newStalledWorld(t *testing.T, size int, dir string, compress bool) *stalledWorld {
	t.Helper()
	w := &stalledWorld{release: make(chan struct{})}
	key, own, mem := newKey(t, "test-1"), memstore.New(nil), memstore.New(nil)
	w.local = addSigned(t, own, "local", fileArchive(strings.Repeat("l", size)), key)
	w.kept = addSigned(t, mem, "kept", fileArchive(strings.Repeat("k", size)), key)
	w.remote = addSigned(t, mem, "remote", fileArchive(strings.Repeat("r", size)), key)
	src := &slowStore{Store: mem, archive: func(b []byte) io.Reader {
		if !bytes.Contains(b, []byte("rrrr")) {
			return bytes.NewReader(b)
		}
		half := len(b) / 2
		return io.MultiReader(bytes.NewReader(b[:half]), readerFunc(func([]byte) (int, error) {
			<-w.release
			return 0, io.EOF
		}), bytes.NewReader(b[half:]))
	}}
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
	opts := &cacheserver.Options{StallTimeout: -1, MaxArchives: 1, MaxEncoders: 1, Compress: compress}
	if compress {
		opts.CompressedDir = t.TempDir()
	}
	w.h = newHandler(t, opts, own, u)
	if r := ask(w.h, http.MethodGet, archiveURLOf(t, w.h, w.kept.Path)); r.Code != http.StatusOK {
		t.Fatalf("fetching the kept archive: %d, %s", r.Code, r.Body)
	}
	return w
}

// checkAtOnce sends a request that must succeed without waiting.
func (w *stalledWorld) checkAtOnce(t *testing.T, what, target string, header ...string) {
	t.Helper()
	start := time.Now()
	r := ask(w.h, http.MethodGet, target, header...)
	if r.Code >= 300 || time.Since(start) > 0 {
		t.Errorf("%s: %d after %v", what, r.Code, time.Since(start))
	}
}

// stall sends requests for what the upstream cache does not send, more than there are places, and returns when all of them wait.
// The result waits for their ends.
func (w *stalledWorld) stall(t *testing.T, target string, header ...string) (end func()) {
	t.Helper()
	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			if r := ask(w.h, http.MethodGet, target, header...); r.Code >= 300 {
				t.Errorf("%s %q from the upstream cache: %d", target, header, r.Code)
			}
		})
	}
	synctest.Wait()
	return func() {
		close(w.release)
		clients.Wait()
	}
}

// While an upstream cache sends an archive slowly, any number of requests for it, whole or in parts, take no place from archives
// that are ready: of a store of this machine, and of the same upstream cache.
func TestStalledParts(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		for _, part := range []string{"bytes=0-", "bytes=1-", "bytes=150000-150009", "bytes=10-19"} {
			synctest.Test(t, func(t *testing.T) {
				sub := dir
				if dir != "" {
					sub = t.TempDir()
				}
				w := newStalledWorld(t, 200_000, sub, false)
				kept := archiveURLOf(t, w.h, w.kept.Path)
				w.checkAtOnce(t, "a part before", kept, "Range", "bytes=100000-100009")
				end := w.stall(t, archiveURLOf(t, w.h, w.remote.Path), "Range", part)
				w.checkAtOnce(t, "a local archive", archiveURLOf(t, w.h, w.local.Path))
				w.checkAtOnce(t, "a part of a kept archive", kept, "Range", "bytes=100000-100009")
				w.checkAtOnce(t, "a kept archive", kept)
				end()
			})
		}
	}
}

// Requests of each kind that wait for a slow upstream cache take no place from such requests for a store of this machine.
func TestStalledUpstream(t *testing.T) {
	// The encoder of small files has channels, which must not belong to a bubble.
	ask(newHandler(t, &cacheserver.Options{Compress: true}, memstore.New(nil)), http.MethodGet, "/nix-cache-info", "Accept-Encoding", "zstd")
	whole := func(t *testing.T, w *stalledWorld, info *store.PathInfo) string {
		return archiveURLOf(t, w.h, info.Path)
	}
	for _, test := range []struct {
		name     string
		size     int
		compress bool
		target   func(t *testing.T, w *stalledWorld, info *store.PathInfo) string
		header   []string
	}{
		{"small archives", 10_000, false, whole, nil},
		{"archives", 200_000, false, whole, nil},
		{"small archives, compressed in transit", 10_000, true, whole, []string{"Accept-Encoding", "zstd"}},
		{"archives, compressed in transit", 200_000, true, whole, []string{"Accept-Encoding", "zstd"}},
		{"compressed archives", 1 << 20, true, whole, nil},
		{"listings", 200_000, false, func(_ *testing.T, _ *stalledWorld, info *store.PathInfo) string {
			return "/" + info.Path.HashPart() + ".ls"
		}, nil},
		{"files", 200_000, false, func(_ *testing.T, _ *stalledWorld, info *store.PathInfo) string {
			return "/serve/" + info.Path.HashPart()
		}, nil},
	} {
		for _, keeps := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				dir := ""
				if keeps {
					dir = t.TempDir()
				}
				w := newStalledWorld(t, test.size, dir, test.compress)
				end := w.stall(t, test.target(t, w, w.remote), test.header...)
				w.checkAtOnce(t, test.name, test.target(t, w, w.local), test.header...)
				end()
			})
		}
	}
}
