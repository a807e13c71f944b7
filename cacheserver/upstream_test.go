package cacheserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A slowStore is a store whose archives are sent as the test wants.
type slowStore struct {
	store.Store
	opened  atomic.Int32 // number of archives
	archive func(contents []byte) io.Reader
}

// Unwrap returns the store with all other capabilities.
func (s *slowStore) Unwrap() store.Store { return s.Store }

func (s *slowStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	s.opened.Add(1)
	r, err := store.ReadNAR(ctx, s.Store, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	contents, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if s.archive == nil {
		return io.NopCloser(bytes.NewReader(contents)), nil
	}
	return io.NopCloser(s.archive(contents)), nil
}

// addSigned adds an object that the keys have signed.
func addSigned(t *testing.T, s store.Store, name string, archive []byte, keys ...signature.SecretKey) *store.PathInfo {
	t.Helper()
	info := newSigned(t, name, archive, nil, keys...)
	if err := store.AddNAR(t.Context(), s, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); err != nil {
		t.Fatal(err)
	}
	return info
}

// newUpstream returns an upstream of a store.
func newUpstream(t *testing.T, src store.Store, opts *cacheserver.UpstreamOptions) *cacheserver.Upstream {
	t.Helper()
	u, err := cacheserver.NewUpstream(src, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// archiveURLOf returns the path of the archive of an object on a server.
func archiveURLOf(t *testing.T, h http.Handler, path storepath.Path) string {
	t.Helper()
	return "/" + narInfoOf(t, h, path).URL
}

// fetchedNames returns the names of the files in a directory of fetched archives, without the infos.
func fetchedNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".narinfo") {
			names = append(names, e.Name())
		}
	}
	return names
}

// Only paths exist that a trusted key has signed, or that are content-addressed. Uploaders see none of them.
func TestUpstreamSignatures(t *testing.T) {
	key := newKey(t, "test-1")
	src := memstore.New(nil)
	signed := addSigned(t, src, "signed", fileArchive("signed"), key)
	other := addSigned(t, src, "other", fileArchive("other"), newKey(t, "other-1"))
	unsigned := addSigned(t, src, "unsigned", fileArchive("unsigned"))
	text := addText(t, src, "text", "text")
	dir := t.TempDir()
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()}}, memstore.New(nil), u)
	for path, want := range map[storepath.Path]int{signed.Path: 200, text: 200, other.Path: 404, unsigned.Path: 404} {
		if r := ask(h, http.MethodGet, "/"+narinfo.FileName(path)); r.Code != want {
			t.Errorf("'%s': %d, want %d", path, r.Code, want)
		}
		if r := ask(h, http.MethodGet, "/upload/"+narinfo.FileName(path)); r.Code != 404 {
			t.Errorf("'%s' for an uploader: %d", path, r.Code)
		}
	}
	url := "/nar/" + unsigned.Path.HashPart() + "-" + unsigned.NARHash.Nix32() + ".nar"
	if r := ask(h, http.MethodGet, url); r.Code != 404 {
		t.Errorf("the archive of an unsigned path: %d", r.Code)
	}
	if names := fetchedNames(t, dir); len(names) != 0 {
		t.Errorf("%q were stored", names)
	}
	if valid, err := u.QueryValidPaths(t.Context(), []storepath.Path{signed.Path, other.Path, unsigned.Path, text}, false); err != nil || len(valid) != 2 {
		t.Errorf("the valid paths are %v, error %v", valid, err)
	}
}

// Many clients share one fetch. It goes on when one of them leaves, and even when all have left.
func TestSharedFetch(t *testing.T) {
	key := newKey(t, "test-1")
	mem := memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 100_000))
	info := addSigned(t, mem, "object", archive, key)
	begun, release := make(chan struct{}), make(chan struct{})
	src := &slowStore{Store: mem, archive: func(contents []byte) io.Reader {
		half := len(contents) / 2
		return io.MultiReader(bytes.NewReader(contents[:half]), readerFunc(func([]byte) (int, error) {
			close(begun)
			<-release
			return 0, io.EOF
		}), bytes.NewReader(contents[half:]))
	}}
	dir := t.TempDir()
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
	srv := serve(t, nil, u)
	url := srv.URL + archiveURLOf(t, newHandler(t, nil, u), info.Path)

	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	if _, err := io.ReadFull(first.Body, make([]byte, 1000)); err != nil { // before the fetch has ended
		t.Fatal(err)
	}
	leave()
	first.Body.Close()

	var clients sync.WaitGroup
	answered := make(chan *http.Response, 3)
	for i := range 3 {
		clients.Go(func() {
			r, err := http.NewRequest(http.MethodGet, url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			want := archive
			if i == 2 { // resumes
				r.Header.Set("Range", "bytes=700000-")
				want = archive[700_000:]
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			answered <- resp
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("client %d: %d bytes of %d, error %v", i, len(got), len(want), err)
			}
		})
	}
	<-answered // one more client reads the unfinished archive
	close(release)
	clients.Wait()
	if n := src.opened.Load(); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
	if got, want := fetchedNames(t, dir), info.NARHash.Nix32()+".nar"; len(got) != 1 || got[0] != want {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

// A readerFunc is a reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// An archive that differs from its signed narinfo is neither stored nor sent as if it was complete.
func TestWrongUpstreamArchive(t *testing.T) {
	key := newKey(t, "test-1")
	mem := memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 100_000))
	info := addSigned(t, mem, "object", archive, key)
	for name, spoil := range map[string]func([]byte) io.Reader{
		"one bit":   func(b []byte) io.Reader { b = bytes.Clone(b); b[len(b)/2] ^= 1; return bytes.NewReader(b) },
		"cut":       func(b []byte) io.Reader { return bytes.NewReader(b[:len(b)-8]) },
		"longer":    func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b), strings.NewReader("more")) },
		"endless":   func(b []byte) io.Reader { return readerFunc(func(p []byte) (int, error) { return len(p), nil }) },
		"no object": func([]byte) io.Reader { return strings.NewReader("<html>") },
		"broken":    func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b[:9]), errorReader{}) },
		"panic":     func([]byte) io.Reader { return readerFunc(func([]byte) (int, error) { panic("a store panics") }) },
	} {
		for _, dir := range []string{"", t.TempDir()} {
			if dir == "" && name == "panic" {
				continue // net/http ends the connection
			}
			src := &slowStore{Store: mem, archive: spoil}
			u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
			srv := serve(t, nil, u)
			resp, err := http.Get(srv.URL + archiveURLOf(t, newHandler(t, nil, u), info.Path))
			if err == nil {
				var b []byte
				b, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK && err == nil {
					t.Errorf("%s: a response of %d bytes was complete", name, len(b))
				}
			}
			u.Close() // waits for the fetch
			if dir != "" && len(fetchedNames(t, dir)) != 0 {
				t.Errorf("%s: %q were stored", name, fetchedNames(t, dir))
			}
		}
	}
}

// An errorReader fails.
type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errors.New("the connection is lost") }

// The directory is bounded: archives that were not used for the longest time are deleted. Archives that are too large are not kept.
func TestUpstreamSize(t *testing.T) {
	key := newKey(t, "test-1")
	src := &slowStore{Store: memstore.New(nil)}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".fetching-1"), []byte("half an archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir, Size: 10_000, Fetches: 1}
	u := newUpstream(t, src, opts)
	if names := fetchedNames(t, dir); len(names) != 0 {
		t.Errorf("%q were not deleted", names)
	}
	h := newHandler(t, nil, u)
	fetch := func(info *store.PathInfo) {
		t.Helper()
		if r := ask(h, http.MethodGet, archiveURLOf(t, h, info.Path)); r.Code != 200 || nixhash.Sum(nixhash.SHA256, r.Body.Bytes()) != info.NARHash {
			t.Fatalf("'%s': %d, %d bytes", info.Path, r.Code, r.Body.Len())
		}
	}
	infos := make([]*store.PathInfo, 5)
	for i := range infos {
		infos[i] = addSigned(t, src.Store, "object-"+string(rune('a'+i)), fileArchive(strings.Repeat(string(rune('a'+i)), 3000)), key)
		fetch(infos[i])
		size := 0
		for _, name := range fetchedNames(t, dir) {
			st, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			size += int(st.Size())
		}
		if size > 10_000 {
			t.Errorf("%d bytes are kept", size)
		}
	}
	before := src.opened.Load()
	fetch(infos[4])
	if src.opened.Load() != before {
		t.Error("an archive that is kept was fetched again")
	}
	if fetch(infos[0]); src.opened.Load() != before+1 {
		t.Error("the oldest archive was not fetched again")
	}
	large := addSigned(t, src.Store, "large", fileArchive(strings.Repeat("x", 8000)), key)
	kept := len(fetchedNames(t, dir))
	if fetch(large); len(fetchedNames(t, dir)) != kept {
		t.Error("a large archive was kept")
	}
}

// After a restart the archives are still there. A damaged one is sent to no one as if it was complete, and fetched again.
func TestUpstreamRestart(t *testing.T) {
	key := newKey(t, "test-1")
	mem := memstore.New(nil)
	dir := t.TempDir()
	info := addSigned(t, mem, "object", fileArchive(strings.Repeat("0123456789", 100_000)), key)
	file := filepath.Join(dir, info.NARHash.Nix32()+".nar")
	opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir}
	fetches := func(damage func([]byte) []byte, attempts int) int32 {
		t.Helper()
		if damage != nil {
			b, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		src := &slowStore{Store: mem}
		u := newUpstream(t, src, opts)
		defer u.Close()
		srv := serve(t, nil, u)
		url := srv.URL + archiveURLOf(t, newHandler(t, nil, u), info.Path)
		for i := range attempts {
			resp, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			good := err == nil && nixhash.Sum(nixhash.SHA256, b) == info.NARHash
			if good != (i == attempts-1) || err == nil && !good {
				t.Errorf("attempt %d: %d bytes, error %v", i, len(b), err)
			}
		}
		return src.opened.Load()
	}
	if n := fetches(nil, 1); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	if n := fetches(nil, 1); n != 0 {
		t.Errorf("after a restart: fetched %d times", n)
	}
	if n := fetches(func(b []byte) []byte { return b[:1000] }, 1); n != 1 { // its size is wrong
		t.Errorf("after a file was cut: fetched %d times", n)
	}
	if n := fetches(func(b []byte) []byte { clear(b[500_000:]); return b }, 2); n != 1 {
		t.Errorf("after a file was damaged: fetched %d times", n)
	}
}

// An upstream cache that fails is not a cache without the path: clients try again.
func TestUpstreamDown(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/nix-cache-info" {
			io.WriteString(w, "StoreDir: /nix/store\n")
			return
		}
		w.WriteHeader(http.StatusNotImplemented) // no retries
	}))
	defer broken.Close()
	src, err := binarycache.Open(t.Context(), broken.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, nil, newUpstream(t, src, nil))
	if r := ask(h, http.MethodGet, "/00000000000000000000000000000000.narinfo"); r.Code != http.StatusBadGateway || strings.Contains(r.Body.String(), "127.0.0.1") {
		t.Errorf("got %d, %s", r.Code, r.Body)
	}
}
