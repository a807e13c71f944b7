package binarycache_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
)

// serverFunc is an http.Handler whose behaviour a test sets after it has opened the cache.
type serverFunc struct {
	f       *fake
	running atomic.Int64
	seen    atomic.Int64
	handle  func(s *serverFunc, w http.ResponseWriter, r *http.Request) (answered bool)
}

func (s *serverFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Add(-1)
	s.seen.Add(1)
	if !s.handle(s, w, r) {
		s.f.ServeHTTP(w, r)
	}
}

// A copy from a server that allows fewer requests than the smallest width ends, and so does one from a server that becomes fast.
func TestWidthUnreliable(t *testing.T) {
	f, paths := smallPaths(t, 300)
	limits := map[string]time.Duration{"four requests at once": 60 * time.Second, "slow at first": 40 * time.Second}
	for name, handle := range map[string]func(s *serverFunc, w http.ResponseWriter, r *http.Request) bool{
		"four requests at once": func(s *serverFunc, w http.ResponseWriter, r *http.Request) bool {
			if s.running.Load() > 4 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			time.Sleep(trip)
			return false
		},
		"slow at first": func(s *serverFunc, w http.ResponseWriter, r *http.Request) bool {
			if s.seen.Load() < 100 {
				time.Sleep(10 * time.Second)
			}
			time.Sleep(trip)
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &serverFunc{f: f, handle: handle}
				client := listen(t, s)
				client.Transport.(*http.Transport).MaxIdleConnsPerHost = 128
				c, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: client, Tries: 50}})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				defer time.Sleep(time.Minute) // the handlers end
				if took := checkCopy(t, c, paths); took > limits[name] {
					t.Errorf("it took %v with %d requests", took, s.seen.Load())
				}
			})
		})
	}
}
