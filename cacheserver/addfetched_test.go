package cacheserver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/localstore"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// additions is an observer of additions.
type additions chan cacheserver.Addition

func (additions) Answered(cacheserver.Request) {}

func (a additions) Added(one cacheserver.Addition) { a <- one }

// next waits for an addition.
func (a additions) next(t *testing.T) cacheserver.Addition {
	t.Helper()
	select {
	case one := <-a:
		return one
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing was added")
		panic("unreachable")
	}
}

// newLocal returns a new store in a directory.
func newLocal(t *testing.T, opts localstore.Options) *localstore.Store {
	t.Helper()
	if opts.Root == "" {
		opts.Root = t.TempDir()
	}
	s, err := localstore.Open(t.Context(), &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// addReferring adds a signed object with references.
func addReferring(t *testing.T, s store.Store, name, contents string, references []storepath.Path, key signature.SecretKey) *store.PathInfo {
	t.Helper()
	archive := fileArchive(contents)
	info := newPushed(t, name, archive, references, key).n.PathInfo
	if err := store.AddNAR(t.Context(), s, &info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return &info
}

// adding returns options of a handler that adds to the first store.
func adding() (*cacheserver.Options, additions) {
	seen := make(additions, 100)
	return &cacheserver.Options{AddFetched: true, Observer: seen}, seen
}

// newHostileCache returns an HTTP server without objects, and the cache that it serves.
func newHostileCache(t *testing.T) (*hostileUpstream, store.Store) {
	t.Helper()
	hostile := &hostileUpstream{files: make(map[string][]byte), answers: make(map[string]http.HandlerFunc)}
	hostile.files["/nix-cache-info"] = []byte("StoreDir: /nix/store\n")
	srv := httptest.NewServer(hostile)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	src, err := binarycache.Open(t.Context(), srv.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: true, Tries: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return hostile, src
}

// A path whose archive a client has fetched is in the first store afterwards, with its references and signatures. The references
// come from any upstream cache. Each archive was fetched once. After that the store answers, also without the upstream caches.
func TestAddFetched(t *testing.T) {
	key, other := newKey(t, "test-1"), newKey(t, "other-1")
	for _, dir := range []bool{false, true} {
		first, second := &slowStore{Store: memstore.New(nil)}, &slowStore{Store: memstore.New(nil)}
		lib := addReferring(t, first.Store, "lib", strings.Repeat("lib", 100_000), nil, key)
		present := addReferring(t, first.Store, "present", "present", nil, key)
		for _, name := range []string{"lib", "present"} { // not trusted
			addReferring(t, second.Store, name, "other contents", nil, newKey(t, "none-1"))
		}
		tool := addReferring(t, second.Store, "tool", "tool", []storepath.Path{lib.Path, present.Path}, other)
		text := addText(t, second.Store, "text", "text", tool.Path)

		local := newLocal(t, localstore.Options{})
		addReferring(t, local, "present", "present", nil, key)
		var upstreams []*cacheserver.Upstream
		for _, c := range []struct {
			src store.Store
			key signature.SecretKey
		}{{first, key}, {second, other}} {
			opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(c.key.Public())}
			if dir {
				opts.Dir = t.TempDir()
			}
			upstreams = append(upstreams, newUpstream(t, c.src, opts))
		}
		opts, seen := adding()
		h := newHandler(t, opts, local, upstreams[0], upstreams[1])
		if r := ask(h, http.MethodGet, archiveURLOf(t, h, text)); r.Code != http.StatusOK {
			t.Fatalf("%d, %s", r.Code, r.Body)
		}
		added := seen.next(t)
		if want := []storepath.Path{lib.Path, tool.Path, text}; added.Err != nil || added.Path != text || !slices.Equal(added.Added, want) {
			t.Errorf("%+v, want %q", added, want)
		}
		if n, m := first.opened.Load(), second.opened.Load(); n != 1 || m != 2 {
			t.Errorf("%d and %d archives were fetched", n, m)
		}
		alone := newHandler(t, nil, local)
		for _, path := range []storepath.Path{text, tool.Path, lib.Path} {
			info, err := local.QueryPathInfo(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			src := first
			if path != lib.Path {
				src = second
			}
			want, err := src.QueryPathInfo(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if info.NARHash != want.NARHash || !slices.Equal(info.References, want.References) || !slices.Equal(info.Signatures, want.Signatures) ||
				info.CA != want.CA || info.Ultimate {
				t.Errorf("%+v, want %+v", info, want)
			}
			if r := ask(alone, http.MethodGet, archiveURLOf(t, alone, path)); r.Code != http.StatusOK || uint64(r.Body.Len()) != info.NARSize {
				t.Errorf("'%s': %d, %d bytes", path, r.Code, r.Body.Len())
			}
		}
	}
}

// Only an archive that a client has received causes an addition: no narinfo, listing, HEAD request, or request that needs no body.
func TestAddFetchedOnlyArchives(t *testing.T) {
	key, src := newKey(t, "test-1"), memstore.New(nil)
	asked := addSigned(t, src, "asked", fileArchive(strings.Repeat("asked", 100_000)), key)
	last := addSigned(t, src, "last", fileArchive("last"), key)
	opts, seen := adding()
	local := newLocal(t, localstore.Options{})
	h := newHandler(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}))
	url := archiveURLOf(t, h, asked.Path)
	ask(h, http.MethodGet, "/"+asked.Path.HashPart()+".ls")
	ask(h, http.MethodGet, "/serve/"+asked.Path.HashPart())
	ask(h, http.MethodHead, url)
	ask(h, http.MethodGet, url, "If-None-Match", `"`+asked.NARHash.Nix32()+`"`)
	ask(h, http.MethodGet, url, "Range", "bytes=999999999-")
	ask(h, http.MethodGet, archiveURLOf(t, h, last.Path))
	if one := seen.next(t); one.Err != nil || one.Path != last.Path {
		t.Errorf("%+v", one)
	}
	ask(h, http.MethodGet, url, "Range", "bytes=100000-199999") // a client that resumes
	if one := seen.next(t); one.Err != nil || one.Path != asked.Path {
		t.Errorf("%+v", one)
	}
	select {
	case one := <-seen:
		t.Errorf("also %+v", one)
	default:
	}
}

// Whatever an upstream cache sends, only the right object is added.
func TestAddFetchedFromHostile(t *testing.T) {
	key := newKey(t, "test-1")
	for name, fault := range upstreamFaults("http://127.0.0.1:1") {
		o := newPushed(t, "spoiled", fileArchive(strings.Repeat("contents", 1000)), nil, key)
		right := o.n.NARHash
		hostile, src := newHostileCache(t)
		hostile.add(t, newPushed(t, "good", fileArchive("good"), nil, key))
		path := o.n.Path
		fault.spoil(hostile, o, key)
		hostile.add(t, o)
		opts, seen := adding()
		local := newLocal(t, localstore.Options{})
		srv := serve(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}))
		url := "/nar/" + path.HashPart() + "-" + right.Nix32() + ".nar"
		if info := ask(srv.Config.Handler, http.MethodGet, "/"+narinfo.FileName(path)); info.Code == http.StatusOK {
			if n, err := narinfo.Parse(info.Body.String(), nil); err == nil {
				url = "/" + n.URL
			}
		}
		_, complete := download(t, srv.URL+url, "")
		want := 1
		if complete {
			if one := seen.next(t); one.Err != nil {
				t.Errorf("%s: %v", name, one.Err)
			}
			want = 2
		}
		good := newPushed(t, "good", fileArchive("good"), nil, key)
		if _, complete := download(t, srv.URL+archiveURLOf(t, srv.Config.Handler, good.n.Path), ""); !complete {
			t.Errorf("%s: the other path is not served", name)
		}
		seen.next(t)
		valid, err := store.AllValidPaths(t.Context(), local)
		if err != nil || len(valid) != want {
			t.Errorf("%s: the store has %q, %v", name, valid, err)
		}
		if info, err := local.QueryPathInfo(t.Context(), path); err == nil && info.NARHash != right {
			t.Errorf("%s: the store has other contents", name)
		}
		srv.CloseClientConnections()
	}
}

// An upstream cache that answers each query with another info, or with a forged one, adds nothing except what a client has
// received.
func TestAddFetchedChangedInfo(t *testing.T) {
	key := newKey(t, "test-1")
	for _, forged := range []bool{false, true} {
		added, refused := 0, 0
		for second := range int64(8) {
			src := &changingStore{Store: memstore.New(nil), second: second}
			for i, contents := range []string{"first!", "second"} {
				o := newPushed(t, "object", fileArchive(contents), nil, key)
				src.archives[i] = fileArchive(contents)
				src.infos[i] = &o.n.PathInfo
				if forged && i == 1 {
					src.infos[i].Signatures = src.infos[0].Signatures
				}
			}
			opts, seen := adding()
			local := newLocal(t, localstore.Options{})
			h := newHandler(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())}))
			info := src.infos[0]
			r := ask(h, http.MethodGet, "/nar/"+info.Path.HashPart()+"-"+info.NARHash.Nix32()+".nar")
			if r.Code != http.StatusOK {
				continue // an answer to another query of the same request was the other info
			}
			one := seen.next(t)
			got, err := local.QueryPathInfo(t.Context(), info.Path)
			switch {
			case one.Err == nil && err == nil && got.NARHash == info.NARHash:
				added++
			case one.Err != nil && err != nil:
				refused++
			default:
				t.Errorf("forged %t, query %d: %+v; the store has %+v, %v", forged, second, one, got, err)
			}
		}
		if added == 0 || refused == 0 {
			t.Errorf("forged %t: %d additions and %d refusals", forged, added, refused)
		}
	}
}

// A store that cannot add objects, and a handler without an upstream store, are refused.
func TestAddFetchedRefused(t *testing.T) {
	src := memstore.New(nil)
	u := newUpstream(t, src, nil)
	for name, stores := range map[string][]store.Store{
		"no upstream": {memstore.New(nil)}, "only an upstream": {u}, "an upstream first": {u, memstore.New(nil)},
	} {
		if h, err := cacheserver.New(stores, &cacheserver.Options{AddFetched: true}); err == nil {
			h.Close()
			t.Errorf("%s: there is no error", name)
		}
	}
}

// A stuckStore never sends the archive of one path.
type stuckStore struct {
	store.Store
	stuck  storepath.Path
	opened chan struct{} // gets a value when the archive of the stuck path is opened
}

// Unwrap returns the store with all other capabilities.
func (s *stuckStore) Unwrap() store.Store { return s.Store }

func (s *stuckStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path != s.stuck {
		return store.ReadNAR(ctx, s.Store, path)
	}
	s.opened <- struct{}{}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// An upstream cache that does not send a reference delays no client: the client gets its archive, many requests begin one addition,
// and Close ends it.
func TestAddFetchedFromStuckStore(t *testing.T) {
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	lib := addReferring(t, mem, "lib", "lib", nil, key)
	tool := addReferring(t, mem, "tool", "tool", []storepath.Path{lib.Path}, key)
	other := addReferring(t, mem, "other", "other", nil, key)
	src := &stuckStore{Store: mem, stuck: lib.Path, opened: make(chan struct{}, 10)}
	opts, seen := adding()
	local := newLocal(t, localstore.Options{})
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
	h, err := cacheserver.New([]store.Store{local, u}, opts)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if r := ask(h, http.MethodGet, archiveURLOf(t, h, tool.Path)); r.Code != http.StatusOK {
			t.Errorf("%d", r.Code)
		}
	}
	<-src.opened
	ask(h, http.MethodGet, archiveURLOf(t, h, other.Path))
	if one := seen.next(t); one.Path != other.Path || one.Err != nil {
		t.Errorf("%+v", one)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if n := len(src.opened) + len(seen); n != 0 {
		t.Errorf("%d more additions", n)
	}
	if valid, err := store.AllValidPaths(t.Context(), local); err != nil || !slices.Equal(valid, []storepath.Path{other.Path}) {
		t.Errorf("%q, %v", valid, err)
	}
}

// Clients upload paths while others fetch them from an upstream cache. Everything is in the store afterwards, and right.
func TestAddFetchedDuringUploads(t *testing.T) {
	key, src := newKey(t, "test-1"), memstore.New(nil)
	keys := signature.NewKeySet(key.Public())
	var infos []*store.PathInfo
	var paths []storepath.Path
	for i := range 20 {
		var references []storepath.Path
		if i > 0 {
			references = []storepath.Path{paths[i-1]}
		}
		infos = append(infos, addReferring(t, src, fmt.Sprint("object-", i), strings.Repeat(fmt.Sprint(i), 5_000), references, key))
		paths = append(paths, infos[i].Path)
	}
	opts, seen := adding()
	opts.TrustedKeys, opts.Uploads = keys, &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{}}, Dir: t.TempDir()}
	local := newLocal(t, localstore.Options{})
	srv := serve(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: keys}))
	dst, err := binarycache.Open(t.Context(), srv.URL+"/upload", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	var clients sync.WaitGroup
	clients.Go(func() {
		if _, err := store.Copy(t.Context(), dst, src, paths[19:], nil); err != nil {
			t.Error(err)
		}
	})
	clients.Go(func() {
		for i := range infos {
			info := infos[19-i]
			if _, complete := download(t, srv.URL+"/nar/"+info.Path.HashPart()+"-"+info.NARHash.Nix32()+".nar", ""); !complete {
				t.Errorf("'%s' is not served", info.Path)
			}
		}
	})
	clients.Wait()
	for len(seen) > 0 {
		if one := seen.next(t); one.Err != nil {
			t.Errorf("%+v", one)
		}
	}
	checked := 0
	err = store.VerifyPaths(t.Context(), local, paths, &store.VerifyOptions{TrustedKeys: keys}, func(v *store.PathVerdict) {
		checked++
		if wrong := errors.Join(v.Err, v.Modified); wrong != nil {
			t.Error(wrong)
		}
	})
	if err != nil || checked != len(paths) {
		t.Errorf("%d paths were checked, %v", checked, err)
	}
}
