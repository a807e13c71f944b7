package binarycache_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/binarycache"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A meeting keeps requests waiting until a number of them has arrived.
type meeting struct {
	arrived atomic.Int32
	want    int32
	all     chan struct{}
}

func newMeeting(n int32) *meeting { return &meeting{want: n, all: make(chan struct{})} }

// wait waits for the other requests. It reports whether they have arrived.
func (m *meeting) wait() bool {
	if m.arrived.Add(1) == m.want {
		close(m.all)
	}
	select {
	case <-m.all:
		return true
	case <-time.After(20 * time.Second):
		return false
	}
}

// importsOf returns a sequence of objects of a store, whose archives cannot be kept.
func importsOf(t *testing.T, src store.Store, paths []storepath.Path) func(yield func(store.Import, error) bool) {
	return func(yield func(store.Import, error) bool) {
		for _, path := range paths {
			info, err := src.QueryPathInfo(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if !yield(store.Import{Info: info, NAR: strings.NewReader(archiveOf(t, src, path))}, nil) {
				return
			}
		}
	}
}

// The narinfos of many objects, and of the references of one, are requested at once, also if the caller has not queried
// the paths before. Objects that the cache has are not sent again.
func TestAddQueriesAtOnce(t *testing.T) {
	src := memstore.New(nil)
	var leaves []storepath.Path
	for i := range 8 {
		path, err := src.AddTextToStore(t.Context(), fmt.Sprint("leaf-", i), fmt.Sprint("text ", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, path)
	}
	root, err := src.AddTextToStore(t.Context(), "root", "text", leaves)
	if err != nil {
		t.Fatal(err)
	}
	cache := newRecorder()
	srv := httptest.NewServer(cache)
	defer srv.Close()
	add := func(paths ...storepath.Path) {
		t.Helper()
		together := newMeeting(int32(len(leaves)))
		cache.set(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, ".narinfo") && r.Method == http.MethodGet && !strings.Contains(r.URL.Path, root.HashPart()) && !together.wait() {
				t.Error("a narinfo was requested alone")
			}
			return false
		})
		s, err := binarycache.Open(t.Context(), srv.URL, &binarycache.Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.AddMultipleToStore(t.Context(), len(paths), importsOf(t, src, paths), nil); err != nil {
			t.Error(err)
		}
	}
	add(leaves...)
	sent := len(cache.requests("PUT "))
	add(leaves...)
	if n := len(cache.requests("PUT ")); n != sent {
		t.Errorf("%d files were sent again", n-sent)
	}
	add(root) // asks for its references
	if n := len(cache.requests("PUT ")); n != sent+2 {
		t.Errorf("%d files were sent of the last object", n-sent)
	}
}
