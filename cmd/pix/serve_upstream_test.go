package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pix/localstore"
	"pix/store"
)

// An upstream cache cannot make the server send requests to another host, unless the operator allows it.
func TestServeOtherHosts(t *testing.T) {
	dir := t.TempDir()
	src, cache := filepath.Join(dir, "src"), filepath.Join(dir, "cache")
	path := pixOutput(t, "--store", src, "add-text", "hello", "hello world")
	pixOutput(t, "copy", "--from", src, "--to", "file://"+cache, path)
	var asked atomic.Int32
	files := http.FileServer(http.Dir(cache))
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		files.ServeHTTP(w, r)
	}))
	defer other.Close()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if filepath.Ext(r.URL.Path) == ".narinfo" {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer upstream.Close()
	for _, c := range []struct {
		flags  []string
		status int
	}{{nil, http.StatusBadGateway}, {[]string{"--upstream-other-hosts"}, http.StatusOK}} {
		asked.Store(0)
		args := append([]string{"--store", src + "-empty", "--upstream", upstream.URL, "--listen", "127.0.0.1:0"}, c.flags...)
		s := startServe(t, 1, args...)
		resp, err := http.Get("http://" + s.addresses[0] + "/" + filepath.Base(path)[:32] + ".narinfo")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || (asked.Load() > 0) != (c.status == http.StatusOK) {
			t.Errorf("with %q: %s, and the other host got %d requests", c.flags, resp.Status, asked.Load())
		}
		s.stop(t)
	}
}

// A server starts although its upstream cache is down, and fetches from it later.
func TestServeWhileUpstreamIsDown(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	path := pixOutput(t, "--store", store, "add-text", "hello", "hello world")
	const down = "http://127.0.0.1:1?retry-attempts=1" // no program listens on port 1, and the system assigns it to none
	s := startServe(t, 1, "--store", store, "--upstream", down, "--listen", "127.0.0.1:0")
	for hashPart, want := range map[string]int{filepath.Base(path)[:32]: http.StatusOK, strings.Repeat("0", 32): http.StatusBadGateway} {
		resp, err := http.Get("http://" + s.addresses[0] + "/" + hashPart + ".narinfo")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", hashPart, resp.Status, want)
		}
	}
	s.stop(t)
}

// Fetched paths can only be added to a store that can add objects, and that this process can write. Otherwise no server starts.
func TestServeUpstreamAddTarget(t *testing.T) {
	dir := t.TempDir()
	writable, err := localstore.Open(t.Context(), &localstore.Options{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer writable.Close()
	readOnly, err := localstore.Open(t.Context(), &localstore.Options{Root: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	o := &upstreamOptions{add: true}
	if err := o.checkTarget(writable); err != nil {
		t.Error(err)
	}
	for name, s := range map[string]store.Store{"a read-only store": readOnly, "a store without the capability": struct{ store.Store }{writable}} {
		if err := o.checkTarget(s); exitCode(t.Context(), err) != exitUsage {
			t.Errorf("%s: %v", name, err)
		}
		if err := new(upstreamOptions).checkTarget(s); err != nil {
			t.Errorf("without the flag: %v", err)
		}
	}
}
