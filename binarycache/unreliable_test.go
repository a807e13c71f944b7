package binarycache_test

import (
	"context"
	"fmt"
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
// would be an error. The faults depend on the files and not on the order of the requests, so each run has the same ones.
type unreliable struct {
	*fake
	faults  map[string]fault // by the URLs of files
	spoiled sync.Map         // the URLs whose fault was sent

	requests, bad, sent atomic.Int64
}

// A fault is a bad response: an error, or the file cut off or wrong at an offset.
type fault struct {
	kind string
	at   int
}

// addFaults chooses a fault for one object in every, in its narinfo or in its archive. The archives that are too large
// to be read ahead are all cut off, soon after their beginning: the rest of them weighs more than all other faults.
func (u *unreliable) addFaults(paths []storepath.Path, every int) {
	kinds := []string{"error", "cut", "short", "wrong"}
	random := rand.New(rand.NewPCG(3, 4))
	u.faults = map[string]fault{}
	for i, path := range paths {
		file := path.HashPart() + ".narinfo"
		_, line, _ := strings.Cut(u.files[file], "URL: ")
		archive, _, _ := strings.Cut(line, "\n")
		if i%2 == 1 {
			file = archive
		}
		switch size := len(u.files[archive]); {
		case size >= largeArchive:
			u.faults[archive] = fault{"cut", size / 16}
		case random.IntN(every) == 0:
			u.faults[file] = fault{kinds[len(u.faults)%len(kinds)], random.IntN(len(u.files[file]))}
		}
	}
}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.requests.Add(1)
	file := strings.TrimPrefix(r.URL.Path, "/")
	if strings.HasPrefix(file, "nar/") {
		w = &countedWriter{w, &u.sent}
	}
	f, ok := u.faults[file]
	if ok {
		_, spoiled := u.spoiled.LoadOrStore(file, true)
		ok = !spoiled
	}
	if !ok {
		u.fake.ServeHTTP(w, r)
		return
	}
	text := u.files[file]
	u.bad.Add(1)
	switch f.kind {
	case "error":
		http.Error(w, "try again", http.StatusServiceUnavailable)
	case "cut":
		cutAfter(w, text, f.at)
	case "short":
		w.Write([]byte(text[:f.at]))
	case "wrong":
		b := []byte(text)
		b[f.at] ^= 1
		w.Write(b)
	}
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

const largeArchive = 1500 << 10 // too large to be read ahead

// unreliableClosure creates a closure of n signed paths, which refer to earlier ones; the last one is its root. It also
// returns the total size of the archives.
func unreliableClosure(t *testing.T, f *fake, n int, key signature.SecretKey) (paths []storepath.Path, size int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		length := 100 + random.IntN(20_000)
		if i%500 == 250 {
			length = largeArchive
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
	return paths, size
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
	paths, size := unreliableClosure(t, f, n, key)
	every := 50
	if n < 1000 {
		every = 12 // with fewer objects, more faults
	}
	u := &unreliable{fake: f}
	u.addFaults(paths, every)
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
	copied, err := store.Copy(context.WithoutCancel(t.Context()), s, c, paths[n-1:], nil)
	if err != nil || len(copied) != n {
		t.Errorf("%d were copied, %v", len(copied), err)
	}
	ratio := float64(u.sent.Load()) / float64(size)
	t.Logf("%d of %d answers were bad; %d bytes were sent, %.4f of the archives", u.bad.Load(), u.requests.Load(), u.sent.Load(), ratio)
	if n := u.bad.Load(); n != int64(len(u.faults)) {
		t.Errorf("%d responses were bad, not %d", n, len(u.faults))
	}
	if limit := 1 + 2/float64(every); ratio > limit {
		t.Errorf("%.3f of the archives were sent, more than %.3f", ratio, limit)
	}
	if bad, err := s.VerifyStore(t.Context(), true, false); bad || err != nil {
		t.Error(bad, err)
	}
}
