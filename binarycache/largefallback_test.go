package binarycache_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/narinfo"
)

// serveTLS serves a cache by HTTPS, with HTTP/2. Without http1 the TLS handshake requires HTTP/2.
func serveTLS(t *testing.T, f http.Handler, http1 bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(f)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = new(tls.Config)
	if !http1 {
		server.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if !slices.Contains(hello.SupportedProtos, "h2") {
				return nil, errors.New("no HTTP/2")
			}
			return nil, nil
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// putLarge adds an object whose narinfo claims that it is large.
func putLarge(t *testing.T, f *fake) *narinfo.NarInfo {
	t.Helper()
	n := f.put(t, "large", "zstd", 1000)
	n.NARSize = 16 << 20
	f.putNarInfo(t, n)
	return n
}

// openArchive opens and closes an archive.
func openArchive(t *testing.T, c *binarycache.Store, n *narinfo.NarInfo) error {
	t.Helper()
	r, err := c.NARFromPath(t.Context(), n.Path)
	if err != nil {
		return err
	}
	return r.Close()
}

// A server that refuses HTTP/1.1 for a large archive gets the request by HTTP/2 immediately. That
// is no failed attempt.
func TestLargeArchiveNeedsHTTP2(t *testing.T) {
	testenv.NoLeak(t)
	f := newFake()
	large := putLarge(t, f)
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code) }
	}
	for name, refuse := range map[string]func(http.ResponseWriter){
		"handshake":                  nil,
		"no answer":                  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"misdirected request":        status(http.StatusMisdirectedRequest),
		"upgrade required":           status(http.StatusUpgradeRequired),
		"HTTP version not supported": status(http.StatusHTTPVersionNotSupported),
	} {
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if r.ProtoMajor == 1 {
				refuse(w)
				return true
			}
			return false
		}
		server := serveTLS(t, f, refuse != nil)
		c := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{Tries: 1})
		if err := openArchive(t, c, large); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
}

// A server that reports a missing archive, or is overloaded, gets no second request for that.
func TestLargeArchiveRefused(t *testing.T) {
	f := newFake()
	large := putLarge(t, f)
	for _, status := range []int{http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		f.hook = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/nar/") {
				w.WriteHeader(status)
				return true
			}
			return false
		}
		server := serveTLS(t, f, true)
		c := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{Tries: 1})
		before := f.requests("nar/")
		if err := openArchive(t, c, large); err == nil {
			t.Errorf("status %d: no error", status)
		}
		if n := f.requests("nar/") - before; n != 1 {
			t.Errorf("status %d: %d requests", status, n)
		}
		c.Close()
	}
}

// Only so many large archives at a time as files are requested at once have connections of their
// own. More of them share a connection of HTTP/2, and wait for no other.
func TestManyLargeArchives(t *testing.T) {
	testenv.NoLeak(t)
	f := newFake()
	large := putLarge(t, f)
	server := serveTLS(t, f, true)
	c := binarycache.OpenTrusting(t, server.URL, server.Certificate(), binarycache.HTTPOptions{Parallel: 3, ConnectTimeout: time.Minute})
	defer c.Close()
	protocols := make(chan int, 100)
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			protocols <- r.ProtoMajor
		}
		return false
	}
	for range 2 { // closed archives do not count any more
		var open []io.Closer
		own := 0
		for range 10 {
			archive, err := c.NARFromPath(t.Context(), large.Path)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, archive)
			if <-protocols == 1 {
				own++
			}
		}
		if own != 3 {
			t.Errorf("%d archives had connections of their own", own)
		}
		for _, archive := range open {
			archive.Close()
		}
	}
}
