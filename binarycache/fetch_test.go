package binarycache_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/binarycache"
)

func fetch(t *testing.T, address string, opts *binarycache.HTTPOptions) (string, error) {
	t.Helper()
	r, err := binarycache.Fetch(t.Context(), address, opts)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// A file is fetched as it is: servers send a Content-Encoding for archives that are compressed themselves.
func TestFetch(t *testing.T) {
	contents := strings.Repeat("contents ", 10_000)
	var broken, withLogin atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/encoded", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, contents)
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		if broken.Add(1) == 1 {
			w.Header().Set("Content-Length", "90000")
			io.WriteString(w, contents[:70_000])
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(contents))
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			withLogin.Add(1)
		}
		io.WriteString(w, contents)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine "+u.Hostname()+" login me password secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(local, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := &binarycache.HTTPOptions{Netrc: netrc, RetryDelay: time.Millisecond}
	for _, address := range []string{
		server.URL + "/encoded", server.URL + "/broken", server.URL + "/moved#fragment", server.URL + "/login",
		"file://" + strings.ReplaceAll(local, " ", "%20"), "file://localhost" + strings.ReplaceAll(local, " ", "%20"),
	} {
		if got, err := fetch(t, address, opts); err != nil || got != contents {
			t.Errorf("%s: %d bytes, %v", address, len(got), err)
		}
	}
	if broken.Load() != 2 || withLogin.Load() != 2 {
		t.Errorf("%d requests for the broken file, %d requests with a login", broken.Load(), withLogin.Load())
	}
	for _, address := range []string{server.URL + "/missing", server.URL + "/loop"} {
		_, err := fetch(t, address, opts)
		if _, ok := errors.AsType[*binarycache.RequestError](err); !ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"ftp://example.org/x", "http:///x", "x", "", "file://elsewhere/x", "http://[", "https://me:secret@example.org:port/"} {
		_, err := fetch(t, address, opts)
		if _, ok := errors.AsType[*binarycache.FetchError](err); !ok || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := fetch(t, "file://"+filepath.Dir(local), nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}
