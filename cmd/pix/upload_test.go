package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// putServer returns a server that stores each file that it receives and accept allows.
func putServer(t *testing.T, accept func(r *http.Request) bool) string {
	var mu sync.Mutex
	files := make(map[string][]byte)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPut {
			if !accept(r) {
				http.Error(w, "the cache is\nfull", http.StatusInsufficientStorage)
				return
			}
			files[r.URL.Path] = body
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if file, ok := files[r.URL.Path]; ok {
			w.Write(file)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Paths are copied to a cache behind HTTP, and signed in it.
func TestCopyToHTTP(t *testing.T) {
	var full bool
	uri := putServer(t, func(*http.Request) bool { return !full })
	dir := t.TempDir()
	env := map[string]string{"NIX_CONF_DIR": dir, "NIX_USER_CONF_FILES": filepath.Join(dir, "none.conf"), "NIX_CONFIG": "download-attempts = 1"}
	check := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(args, nil, &out, &errs, func(name string) string { return env[name] }); code != want {
			t.Errorf("%q: code %d, want %d: %s", args, code, want, errs.String())
		}
		return strings.TrimSpace(out.String()), errs.String()
	}
	from := "file://" + dir + "/cache"
	path, _ := check(0, "--store", from, "add-text", "hello.txt", "hello")
	if _, stderr := check(3, "path-info", "--store", uri, path); !strings.Contains(stderr, "does not appear to be a binary cache") {
		t.Errorf("reading creates a cache: %s", stderr)
	}
	full = true
	_, stderr := check(3, "copy", "--from", from, "--to", uri, path)
	if !strings.Contains(stderr, "unable to upload '"+uri+"/nix-cache-info': HTTP status 507 Insufficient Storage: the cache is full") {
		t.Errorf("it printed %s", stderr)
	}
	full = false
	if copied, _ := check(0, "copy", "--from", from, "--to", uri, path); copied != path {
		t.Errorf("it copied %q", copied)
	}
	if copied, _ := check(0, "copy", "--from", from, "--to", uri, path); copied != "" {
		t.Errorf("it copied %q again", copied)
	}
	key, _ := check(0, "key-generate", "--key-name", "test-1")
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	check(0, "sign", "--store", uri, "--key-file", keyFile, path)
	if info, _ := check(0, "path-info", "--store", uri, path); !strings.Contains(info, "test-1:") {
		t.Errorf("it is not signed: %s", info)
	}
	if contents, _ := check(0, "cat", "--store", uri, path); contents != "hello" {
		t.Errorf("the contents are %q", contents)
	}
}
