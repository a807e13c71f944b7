package binarycache_test

import (
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"pix/binarycache"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Opening a cache that cannot be opened returns an error, and does not panic.
func TestOpenFails(t *testing.T) {
	testenv.NoLeak(t)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	absent := filepath.Join(t.TempDir(), "absent")
	for name, test := range map[string]struct {
		uri  string
		opts binarycache.Options
	}{
		"a netrc that is not there":    {server.URL, binarycache.Options{HTTP: binarycache.HTTPOptions{Netrc: absent}}},
		"a netrc that is a directory":  {server.URL, binarycache.Options{HTTP: binarycache.HTTPOptions{Netrc: t.TempDir()}}},
		"no cache":                     {server.URL, binarycache.Options{}},
		"https without a certificate":  {"https" + server.URL[len("http"):], binarycache.Options{HTTP: binarycache.HTTPOptions{Netrc: absent}}},
		"a directory with another dir": {"file://" + foreignCache(t), binarycache.Options{}},
	} {
		s, err := binarycache.Open(t.Context(), test.uri, &test.opts)
		if s != nil || err == nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// foreignCache returns a cache of another store directory.
func foreignCache(t *testing.T) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nix-cache-info"), "StoreDir: /gnu/store\n")
	return dir
}

type panicTransport func()

func (p panicTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if filepath.Base(r.URL.Path) != "nix-cache-info" {
		p()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A panic in code of the caller reaches the caller, whatever goroutine the code runs on.
func TestPanics(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "StoreDir: /nix/store\n") }))
	defer server.Close()
	for _, goexit := range []bool{false, true} {
		fault := func() { testenv.Fault(goexit) }
		checkEnded := func(t *testing.T, f func()) {
			t.Helper()
			testenv.NoLeak(t)
			testenv.CheckFault(t, goexit, f)
		}
		t.Run(fmt.Sprintf("client, goexit %t", goexit), func(t *testing.T) {
			s := open(t, server.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{Client: &http.Client{Transport: panicTransport(fault)}}})
			path := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a")
			checkEnded(t, func() { s.QueryValidPaths(t.Context(), []storepath.Path{path}, false) })
			checkEnded(t, func() {
				for range store.Closure(t.Context(), s, path) {
				}
			})
		})
		src, paths := chain(t, 20)
		var infos []*store.PathInfo
		for _, p := range paths {
			info, err := src.QueryPathInfo(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
		for where, objects := range map[string]iter.Seq2[store.Import, error]{
			"sequence": func(yield func(store.Import, error) bool) {
				for _, info := range infos[:10] {
					archive, err := src.NARFromPath(t.Context(), info.Path)
					if !yield(store.Import{Info: info, NAR: archive}, err) {
						return
					}
				}
				fault()
			},
			"archive": func(yield func(store.Import, error) bool) {
				for _, info := range infos {
					if !yield(store.Import{Info: info, NAR: panicReader(fault)}, nil) {
						return
					}
				}
			},
			"archive that is kept": func(yield func(store.Import, error) bool) {
				for _, info := range infos {
					if !yield(store.Import{Info: info, NAR: panicReader(fault).keepable()}, nil) {
						return
					}
				}
			},
		} {
			t.Run(fmt.Sprintf("%s, goexit %t", where, goexit), func(t *testing.T) {
				s := open(t, "file://"+t.TempDir(), nil)
				checkEnded(t, func() { s.AddMultipleToStore(t.Context(), len(infos), objects, nil) })
			})
		}
		t.Run(fmt.Sprintf("contents, goexit %t", goexit), func(t *testing.T) {
			s := open(t, "file://"+t.TempDir(), nil)
			checkEnded(t, func() {
				s.AddToStore(t.Context(), "x", storepath.Flat, nixhash.SHA256, nil, panicReader(fault), nil)
			})
			if _, err := store.AddText(t.Context(), s, "x", "x", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

type panicReader func()

func (p panicReader) Read([]byte) (int, error) { p(); return 0, nil }
func (p panicReader) keepable() store.Keepable { return keepableReader{p} }

type keepableReader struct{ io.Reader }

func (k keepableReader) Keep() io.ReadCloser { return io.NopCloser(k.Reader) }
