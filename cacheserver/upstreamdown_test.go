package cacheserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/narinfo"
	"pix/signature"
	"pix/store/memstore"
)

// A deadHost passes requests to a handler. While it is down, no connection is established, and no attempt fails by itself. If it
// accepts connections, it does not answer while it is down.
type deadHost struct {
	http.Handler
	accepts  bool
	down     atomic.Bool
	attempts atomic.Int32 // while it is down
}

func (h *deadHost) RoundTrip(r *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(r.Context())
	trace.GetConn("")
	if h.down.Load() {
		h.attempts.Add(1)
		if h.accepts {
			trace.GotConn(httptrace.GotConnInfo{})
		}
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	trace.GotConn(httptrace.GotConnInfo{})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// While the host of an upstream cache drops all packets, or accepts connections and answers nothing, one request at a time waits
// for 15 s, and the others fail at once. When the host answers again, so does the server.
func TestUpstreamUnreachable(t *testing.T) {
	for _, accepts := range []bool{false, true} {
		testUnreachable(t, accepts)
	}
}

func testUnreachable(t *testing.T, accepts bool) {
	key := newKey(t, "test-1")
	src := memstore.New(nil)
	wanted := addSigned(t, src, "wanted", fileArchive("wanted"), key)
	synctest.Test(t, func(t *testing.T) {
		host := &deadHost{Handler: newHandler(t, &cacheserver.Options{StallTimeout: -1}, src), accepts: accepts}
		cache, err := binarycache.Open(t.Context(), "http://cache.example", &binarycache.Options{HTTP: binarycache.HTTPOptions{
			Client: &http.Client{Transport: host}, ConnectTries: 2,
		}})
		if err != nil {
			t.Fatal(err)
		}
		u := newUpstream(t, cache, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
		defer u.Close()
		h := newHandler(t, &cacheserver.Options{StallTimeout: -1}, memstore.New(nil), u)
		check := func(what, name string, status int, took time.Duration) {
			t.Helper()
			start := time.Now()
			if r := ask(h, http.MethodGet, name); r.Code != status || time.Since(start) != took {
				t.Errorf("%s: %d after %v, want %d after %v", what, r.Code, time.Since(start), status, took)
			}
		}
		absent := func(digit string) string { return "/" + strings.Repeat(digit, 32) + ".narinfo" }
		check("before", absent("0"), http.StatusNotFound, 0)
		host.down.Store(true)
		check("the first request", absent("1"), http.StatusBadGateway, 15*time.Second)
		for range 3 {
			check("the next requests", absent("2"), http.StatusBadGateway, 0)
		}
		time.Sleep(11 * time.Second)
		var others sync.WaitGroup
		others.Go(func() { ask(h, http.MethodGet, absent("3")) })
		synctest.Wait()
		check("beside an attempt", absent("4"), http.StatusBadGateway, 0)
		others.Wait()
		if n := host.attempts.Load(); n != 2 {
			t.Errorf("%d attempts at a connection", n)
		}
		host.down.Store(false)
		check("before the next attempt", "/"+narinfo.FileName(wanted.Path), http.StatusBadGateway, 0)
		time.Sleep(11 * time.Second)
		check("afterwards", "/"+narinfo.FileName(wanted.Path), http.StatusOK, 0)
		check("afterwards", absent("5"), http.StatusNotFound, 0)
	})
}

// An upstream cache that fails does not hide the paths and archives of the next stores. What no store has is not absent then.
func TestFailedUpstreamBeforeOthers(t *testing.T) {
	key := newKey(t, "test-1")
	opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}
	second := memstore.New(nil)
	info := addSigned(t, second, "object", fileArchive("contents"), key)
	down := &remoteStore{Store: memstore.New(nil), down: true}
	h := newHandler(t, nil, memstore.New(nil), newUpstream(t, down, opts), newUpstream(t, second, opts))
	for target, want := range map[string]int{
		"/" + narinfo.FileName(info.Path):                                       http.StatusOK,
		archiveURLOf(t, h, info.Path):                                           http.StatusOK,
		"/" + info.Path.HashPart() + ".ls":                                      http.StatusOK,
		"/" + strings.Repeat("0", 32) + ".narinfo":                              http.StatusBadGateway,
		"/nar/" + strings.Repeat("0", 32) + "-" + info.NARHash.Nix32() + ".nar": http.StatusBadGateway,
	} {
		if r := ask(h, http.MethodGet, target); r.Code != want {
			t.Errorf("%s: %d, want %d: %s", target, r.Code, want, r.Body)
		}
	}
}
