package binarycache_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pix/binarycache"
	"pix/localstore"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// An unreliable server spoils some of its responses, and counts the bytes of archives that it sends. It spoils at
// most one response for each object, its narinfo or its archive: a copy tries an object only once more, so a second fault
// would be an error.
type unreliable struct {
	*fake
	each int64 // on average, every n-th response is bad

	n, bad, sent atomic.Int64
	spoiled      sync.Map // by the URLs of archives, the objects with a bad response
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := u.n.Add(1)
	h := fnv.New64a()
	fmt.Fprint(h, n)
	random := rand.New(rand.NewPCG(h.Sum64(), 1))
	text, ok := u.files[strings.TrimPrefix(r.URL.Path, "/")]
	if strings.HasPrefix(r.URL.Path, "/nar/") {
		w = &countedWriter{w, &u.sent}
	}
	if !ok || random.Int64N(u.each) != 0 || u.wasSpoiled(r.URL.Path, text) {
		u.fake.ServeHTTP(w, r)
		return
	}
	switch at := random.IntN(len(text)); u.bad.Add(1) % 4 {
	case 0:
		http.Error(w, "try again", http.StatusServiceUnavailable)
	case 1:
		cutAfter(w, text, at)
	case 2:
		w.Write([]byte(text[:at]))
	case 3:
		b := []byte(text)
		b[at] ^= 1
		w.Write(b)
	}
}

// wasSpoiled reports whether the object of a file had a bad response. From then on it has one.
func (u *unreliable) wasSpoiled(path, text string) bool {
	object := strings.TrimPrefix(path, "/")
	if _, line, ok := strings.Cut(text, "URL: "); ok && strings.HasSuffix(path, ".narinfo") {
		object, _, _ = strings.Cut(line, "\n")
	}
	_, spoiled := u.spoiled.LoadOrStore(object, true)
	return spoiled
}

type countedWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *countedWriter) Flush()                      { w.ResponseWriter.(http.Flusher).Flush() }

// unreliableClosure creates a closure of n signed paths, which refer to earlier ones. It
// returns its root, and the total size of the archives.
func unreliableClosure(t *testing.T, f *fake, n int, key signature.SecretKey) (root storepath.Path, size int64) {
	t.Helper()
	var paths []storepath.Path
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		length := 100 + random.IntN(20_000)
		if i%500 == 250 {
			length = 1500 << 10 // too large to be read ahead
		}
		var refs []storepath.Path
		for range min(3, len(paths)) {
			refs = append(refs, paths[len(paths)-1-random.IntN(min(200, len(paths)))])
		}
		if len(paths) > 0 {
			refs = append(refs, paths[len(paths)-1])
		}
		archive := fileNAR(noise(length) + fmt.Sprint(i))
		path, err := storepath.DefaultDir.SourcePath("x", nixhash.Sum(nixhash.SHA256, []byte(archive)), storepath.References{})
		if err != nil {
			t.Fatal(err)
		}
		hash := nixhash.Sum(nixhash.SHA256, []byte(archive))
		info := &narinfo.NarInfo{URL: narinfo.ArchiveURL(hash, "none"), Compression: "none", FileHash: hash, FileSize: uint64(len(archive))}
		info.Path, info.NARHash, info.NARSize, info.References = path, hash, uint64(len(archive)), refs
		if err := info.Sign(key); err != nil {
			t.Fatal(err)
		}
		f.files[info.URL] = archive
		f.putNarInfo(t, info)
		paths, size = append(paths, path), size+int64(len(archive))
	}
	return paths[n-1], size
}

// A closure is copied completely from a cache that answers one percent of the requests with an error, a truncated
// body or wrong bytes, and little of it is downloaded twice.
func TestUnreliableCache(t *testing.T) {
	n := 400
	if os.Getenv("PIX_LONG") != "" {
		n = 10_000
	}
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	f := newFake()
	root, size := unreliableClosure(t, f, n, key)
	each := int64(100)
	if n < 1000 {
		each = 25 // with fewer requests, more faults
	}
	u := &unreliable{fake: f, each: each}
	c, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: listen(t, u)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir(), TrustedKeys: signature.NewKeySet(key.Public())})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copied, err := store.Copy(context.WithoutCancel(t.Context()), s, c, []storepath.Path{root}, nil)
	if err != nil || len(copied) != n {
		t.Errorf("%d were copied, %v", len(copied), err)
	}
	ratio := float64(u.sent.Load()) / float64(size)
	t.Logf("%d of %d answers were bad; %d bytes were sent, %.4f of the archives", u.bad.Load(), u.n.Load(), u.sent.Load(), ratio)
	if limit := 1 + 5/float64(each); ratio > limit {
		t.Errorf("%.3f of the archives were sent, more than %.3f", ratio, limit)
	}
	if bad, err := s.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
}
