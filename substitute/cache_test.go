package substitute_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pix/binarycache"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
	"pix/substitute"
)

// makeCache creates a binary cache in a directory with paths of a store in memory.
func makeCache(t *testing.T, src store.Store, paths ...storepath.Path) string {
	t.Helper()
	dir := t.TempDir()
	cache, err := binarycache.Open(t.Context(), "file://"+dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if _, err := store.Copy(t.Context(), cache, src, paths, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// caches returns options whose substituters are binary caches, opened by their URIs.
func caches(t *testing.T, keys signature.KeySet, uris ...string) *substitute.Options {
	sources := &substitute.Sources{Open: func(ctx context.Context, uri string) (store.Store, error) {
		cache, err := binarycache.Open(ctx, uri, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 1, StallTimeout: time.Second}})
		if err != nil {
			return nil, err
		}
		return cache, nil
	}}
	return &substitute.Options{Sources: sources, Settings: func(ctx context.Context) (*substitute.Settings, error) {
		subs, err := sources.Get(ctx, uris)
		return &substitute.Settings{Substituters: subs, TrustedKeys: keys}, err
	}}
}

// Binary caches are substituters, in a directory and behind HTTP, also after caches that are down,
// empty or damaged.
func TestBinaryCaches(t *testing.T) {
	key, src := newKey(t, "k"), newSubstituter()
	lib := src.put(t, named(t, "lib"), &key)
	app := src.put(t, named(t, "app"), &key, lib)
	keys := signature.NewKeySet(key.Public())
	good, damaged, empty := makeCache(t, src, app), makeCache(t, src, app), makeCache(t, src)
	nars, err := filepath.Glob(damaged + "/nar/*")
	if err != nil || len(nars) != 2 {
		t.Fatal(nars, err)
	}
	for _, file := range nars {
		if err := os.WriteFile(file, []byte("no archive"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	serve := func(handler http.Handler) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL
	}
	httpGood, httpDamaged := serve(http.FileServer(http.Dir(good))), serve(http.FileServer(http.Dir(damaged)))
	var breaks atomic.Bool
	breaking := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if breaks.Load() && r.URL.Path != "/nix-cache-info" {
			http.Error(w, "out of order", http.StatusBadGateway)
			return
		}
		http.FileServer(http.Dir(good)).ServeHTTP(w, r)
	}))
	stalling := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			whole, _ := os.ReadFile(good + r.URL.Path)
			w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
			w.Write(whole[:len(whole)/2])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		http.FileServer(http.Dir(good)).ServeHTTP(w, r)
	}))
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for name, c := range map[string]struct {
		uris string
		want store.BuildStatus
		log  string
	}{
		"file":         {"file://" + good, store.Substituted, "copying path '" + string(lib) + "' from 'file://" + good + "'"},
		"http":         {httpGood, store.Substituted, "copying path '" + string(app) + "' from '" + httpGood},
		"down first":   {down.URL + " " + httpGood, store.Substituted, "warning: unable to download '" + down.URL},
		"empty first":  {"file://" + empty + " " + httpGood, store.Substituted, ""},
		"by priority":  {httpDamaged + "?priority=60 file://" + good, store.Substituted, "from 'file://"},
		"broken first": {breaking + "?priority=1 file://" + good, store.Substituted, "error: unable to download '" + breaking},
		"stalls first": {stalling + "?priority=1 file://" + good, store.Substituted, "the download has stalled"},
		"damaged first": {
			httpDamaged + " file://" + damaged + " file://" + good, store.Substituted,
			"error: archive 'nar/",
		},
		"damaged": {httpDamaged, store.NoSubstituters, "error: archive 'nar/"},
		"empty":   {"file://" + empty, store.NoSubstituters, ""},
		"down":    {down.URL, store.NoSubstituters, "warning: unable to download"},
	} {
		t.Run(name, func(t *testing.T) {
			breaks.Store(name == "broken first")
			below := local(t, nil).Unwrap()
			s := substitute.New(below, caches(t, keys, strings.Fields(c.uris)...))
			defer s.Close()
			ctx, events := record(t)
			r := build(t, ctx, s, opaque(app)...)
			// Either archive may fail first.
			if len(r) != 1 || r[0].Status != c.want && (name != "damaged" || r[0].Status != store.DependencyFailed) {
				t.Errorf("%+v", r)
			}
			checkValid(t, s, c.want == store.Substituted, lib, app)
			if !strings.Contains(events.lines(), c.log) {
				t.Errorf("log:\n%s\nwant %q", events.lines(), c.log)
			}
		})
	}
}

// QueryMissing reports the download size before anything is fetched.
func TestSizes(t *testing.T) {
	key, src := newKey(t, "k"), newSubstituter()
	lib := src.put(t, named(t, "lib"), &key)
	app := src.put(t, named(t, "app"), &key, lib)
	dir := makeCache(t, src, app)
	files, err := filepath.Glob(dir + "/nar/*")
	if err != nil {
		t.Fatal(err)
	}
	var size uint64
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		size += uint64(info.Size())
	}
	s := substitute.New(local(t, nil).Unwrap(), caches(t, nil, "file://"+dir))
	defer s.Close()
	missing, err := s.QueryMissing(t.Context(), opaque(app))
	if err != nil || missing.DownloadSize != size || size == 0 || len(missing.WillSubstitute) != 2 {
		t.Errorf("%+v, %v; the archives have %d bytes", missing, err, size)
	}
}

// A cache that stops answering in the middle of a large closure causes a few failures, not one for each path.
func TestCacheGoesDown(t *testing.T) {
	src := memstore.New(nil)
	var paths []storepath.Path
	for i := range 200 {
		path, err := src.AddTextToStore(t.Context(), fmt.Sprint("text-", i), fmt.Sprint(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	dir := makeCache(t, src, paths...)
	var requests atomic.Int64
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/nar/") {
			requests.Add(1)
			http.Error(w, "out of order", http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	down := openCache(t, server.URL)
	good := openCache(t, "file://"+dir)
	s := local(t, &substitute.Settings{Substituters: []substitute.Substituter{
		{Store: down, URI: "http://down", Priority: 1}, {Store: good, URI: "file://good", Priority: 2},
	}, NoSignatures: true, KeepGoing: true})
	for _, r := range build(t, t.Context(), s, opaque(paths...)...) {
		if r.Status != store.Substituted {
			t.Errorf("%+v", r)
		}
	}
	if n := requests.Load(); n > 150 {
		t.Errorf("%d archives were requested", n)
	}
}

func openCache(t *testing.T, uri string) *binarycache.Store {
	t.Helper()
	c, err := binarycache.Open(t.Context(), uri, &binarycache.Options{HTTP: binarycache.HTTPOptions{Tries: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
