package binarycache_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// trip is the time in which a busyServer answers a request.
const trip = 20 * time.Millisecond

// A busyServer delays its answers, and counts the requests that it has at once.
type busyServer struct {
	*fake
	refuse  int64         // with more requests at once, it answers with status 503; 0 is no limit
	workers chan struct{} // requests beyond its capacity wait; nil is no limit

	running, most, refused atomic.Int64
}

func (s *busyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.running.Add(1)
	defer s.running.Add(-1)
	if s.refuse > 0 && n > s.refuse {
		s.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	for old := s.most.Load(); n > old && !s.most.CompareAndSwap(old, n); old = s.most.Load() {
	}
	if s.workers != nil {
		s.workers <- struct{}{}
		defer func() { <-s.workers }()
	}
	time.Sleep(trip)
	s.fake.ServeHTTP(w, r)
}

// smallPaths returns a cache with n small paths, and the paths.
func smallPaths(t *testing.T, n int) (*fake, []storepath.Path) {
	f := newFake()
	paths := make([]storepath.Path, n)
	for i := range paths {
		paths[i] = f.put(t, fmt.Sprint(i), "none", 500).Path
	}
	return f, paths
}

// inBubble opens the cache of a server and calls test, in a bubble in which only the server takes time.
func (s *busyServer) inBubble(t *testing.T, parallel int, test func(t *testing.T, c *binarycache.Store)) {
	synctest.Test(t, func(t *testing.T) {
		client := listen(t, s)
		client.Transport.(*http.Transport).MaxIdleConnsPerHost = 128
		c, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, Parallel: parallel}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		test(t, c)
	})
}

// checkCopy copies paths to a new store, and returns the time.
func checkCopy(t *testing.T, c *binarycache.Store, paths []storepath.Path) time.Duration {
	t.Helper()
	start := time.Now()
	copied, err := store.Copy(t.Context(), memstore.New(nil), c, paths, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}})
	if err != nil || len(copied) != len(paths) {
		t.Errorf("%d of %d paths were copied, %v", len(copied), len(paths), err)
	}
	return time.Since(start)
}

// A server gets more requests at once while its answers come without errors and as fast as before.
func TestWidthGrows(t *testing.T) {
	f, paths := smallPaths(t, 600)
	for _, c := range []struct {
		name            string
		parallel        int
		workers         int // 0 is no limit
		atLeast, atMost int64
		time            time.Duration // 0 is no limit
	}{
		{"a fast server", 0, 0, 128, 128, 20 * trip},
		{"a server with few workers", 0, 40, 40, 110, 50 * trip},
		{"an option", 10, 0, 10, 10, 0},
		{"a larger option", 200, 0, 140, 200, 20 * trip},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &busyServer{fake: f}
			s.inBubble(t, c.parallel, func(t *testing.T, cache *binarycache.Store) {
				if c.workers > 0 {
					s.workers = make(chan struct{}, c.workers)
				}
				took := checkCopy(t, cache, paths)
				t.Logf("%v, at most %d requests at once", took, s.most.Load())
				if n := s.most.Load(); n < c.atLeast || n > c.atMost {
					t.Errorf("%d requests at once, want %d to %d", n, c.atLeast, c.atMost)
				}
				if c.time > 0 && took > c.time {
					t.Errorf("the copy takes %v, want at most %v", took, c.time)
				}
			})
		})
	}
}

// A server that refuses requests beyond a limit gets fewer of them, and no call fails.
func TestWidthShrinks(t *testing.T) {
	f, paths := smallPaths(t, 600)
	s := &busyServer{fake: f, refuse: 20}
	s.inBubble(t, 0, func(t *testing.T, c *binarycache.Store) {
		took := checkCopy(t, c, paths)
		t.Logf("%v, %d refused", took, s.refused.Load())
		if n := s.refused.Load(); n > 100 {
			t.Errorf("the server has refused %d requests", n)
		}
		s.refused.Store(0)
		s.refuse = 0 // the width grows again
		s.most.Store(0)
		for range 2 {
			checkCopy(t, c, paths)
		}
		if n := s.most.Load(); n <= 24 {
			t.Errorf("without a limit, at most %d requests at once", n)
		}
	})
}
