package cacheserver_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/nar"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func addText(t *testing.T, s store.Store, name, text string, references ...storepath.Path) storepath.Path {
	t.Helper()
	path, err := store.AddText(t.Context(), s, name, text, references)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// addArchive adds an object under a path with any name. It is not content-addressed.
func addArchive(t *testing.T, s store.Store, path storepath.Path, archive []byte, references ...storepath.Path) *store.PathInfo {
	t.Helper()
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references}
	if err := store.AddNAR(t.Context(), s, info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true, Repair: true}); err != nil {
		t.Fatal(err)
	}
	return info
}

// fileArchive returns the archive of a file.
func fileArchive(contents string) []byte {
	var b bytes.Buffer
	if err := nar.WriteFile(&b, strings.NewReader(contents), uint64(len(contents))); err != nil {
		panic(err) // a buffer never fails
	}
	return b.Bytes()
}

// newHandler returns a handler for stores.
func newHandler(t *testing.T, opts *cacheserver.Options, stores ...store.Store) *cacheserver.Handler {
	t.Helper()
	h, err := cacheserver.New(stores, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// serve serves stores over HTTP.
func serve(t *testing.T, opts *cacheserver.Options, stores ...store.Store) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(newHandler(t, opts, stores...))
	t.Cleanup(srv.Close)
	return srv
}

// ask sends a request to a handler. Header fields are pairs of names and values.
func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// narInfoOf requests and parses the narinfo of a path.
func narInfoOf(t *testing.T, h http.Handler, path storepath.Path) *narinfo.NarInfo {
	t.Helper()
	w := ask(h, "GET", "/"+narinfo.FileName(path))
	if w.Code != http.StatusOK {
		t.Fatalf("the narinfo has status %d: %s", w.Code, w.Body)
	}
	n, err := narinfo.Parse(w.Body.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A closure that is copied from the server is the same as one that is copied from the store.
func TestCopy(t *testing.T) {
	src := memstore.New(nil)
	dep := addText(t, src, "dep", "hello")
	large := addText(t, src, "large", strings.Repeat("0123456789abcdef", 100_000))
	root := addText(t, src, "root", "I need "+string(dep)+" and "+string(large), dep, large)
	for name, opts := range map[string]*cacheserver.Options{
		"plain": nil, "compressed in transit": {Compress: true}, "compressed": {Compress: true, CompressedDir: t.TempDir()},
	} {
		srv := serve(t, opts, src)
		cache, err := binarycache.Open(t.Context(), srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		dst := memstore.New(nil)
		if _, err := store.Copy(t.Context(), dst, cache, []storepath.Path{root}, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range []storepath.Path{dep, large, root} {
			got, err := dst.QueryPathInfo(t.Context(), p)
			want, _ := src.QueryPathInfo(t.Context(), p)
			if err != nil || got.NARHash != want.NARHash {
				t.Errorf("%s: %s: %v", name, p, err)
			}
		}
	}
}

// Every request that is no file of the cache gets a short answer, and no method changes anything.
func TestHostileRequests(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", "hello")
	h := newHandler(t, nil, s)
	info := narInfoOf(t, h, path)
	for _, c := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/nix-cache-info", 200}, {"HEAD", "/nix-cache-info", 200}, {"POST", "/nix-cache-info", 405}, {"DELETE", "/" + narinfo.FileName(path), 405},
		{"OPTIONS", "/" + info.URL, 405}, {"BREW", "/" + info.URL, 405}, {"TRACE", "/nope", 404},
		{"GET", "/../../etc/passwd", 404}, {"GET", "/nar/..%2f..%2fetc%2fpasswd", 404}, {"GET", "/%00", 404}, {"GET", "//nix-cache-info", 404},
		{"GET", "/" + strings.Repeat("a/", 20_000), 404}, {"GET", "/" + info.URL + "/", 404}, {"GET", "/" + info.URL + ".zst", 404}, {"GET", "/" + info.URL + ".xz", 404},
		{"GET", "/00000000000000000000000000000000.narinfo", 404}, {"GET", "/log/" + path.Base(), 404}, {"GET", "/log/x", 404},
		{"GET", "/build-trace-v2/x/out.doi", 404}, {"GET", "/serve/" + path.HashPart() + "/..", 404},
		{"GET", "/nar/" + info.NARHash.Nix32() + ".nar", 404}, {"GET", "/nar/" + info.NARHash.Nix32() + ".nar?hash=../..", 404},
		{"GET", "/nar/" + info.NARHash.Nix32() + ".nar?hash=" + path.HashPart(), 200},
	} {
		w := ask(h, c.method, c.target)
		if w.Code != c.want {
			t.Errorf("%s %.60s: %d, want %d", c.method, c.target, w.Code, c.want)
		}
		if w.Code >= 400 && (w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) || strings.Count(w.Body.String(), "\n") != 1) {
			t.Errorf("%s %.60s: the answer is %q", c.method, c.target, w.Body)
		}
		if w.Code == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s %.60s: no Allow", c.method, c.target)
		}
	}
}

// HEAD has the header of GET, and no body.
func TestHead(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", "hello")
	for _, opts := range []*cacheserver.Options{nil, {Compress: true}} {
		h := newHandler(t, opts, s)
		for _, target := range []string{"/", "/nix-cache-info", "/" + narinfo.FileName(path), "/" + path.HashPart() + ".ls", "/" + narInfoOf(t, h, path).URL, "/serve/" + path.HashPart()} {
			get, head := ask(h, "GET", target, "Accept-Encoding", "zstd"), ask(h, "HEAD", target, "Accept-Encoding", "zstd")
			if head.Code != 200 || head.Body.Len() > 0 {
				t.Errorf("HEAD %s: status %d, %d bytes", target, head.Code, head.Body.Len())
			}
			for name := range get.Header() {
				if got, want := head.Header().Get(name), get.Header().Get(name); got != want {
					t.Errorf("HEAD %s: %s is %q, and %q for GET", target, name, got, want)
				}
			}
			if length := get.Header().Get("Content-Length"); length != strconv.Itoa(get.Body.Len()) {
				t.Errorf("GET %s: %s bytes of %d", target, length, get.Body.Len())
			}
		}
	}
}

// Parts of an archive are parts of its bytes.
func TestRanges(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", "hello world")
	h := newHandler(t, &cacheserver.Options{Compress: true}, s)
	target := "/" + narInfoOf(t, h, path).URL
	whole := ask(h, "GET", target)
	all, etag, size := whole.Body.String(), whole.Header().Get("Etag"), strconv.Itoa(whole.Body.Len())
	if size != "128" || whole.Header().Get("Accept-Ranges") != "bytes" {
		t.Fatalf("%s bytes, %v", size, whole.Header())
	}
	for _, c := range []struct {
		spec   string
		status int
		want   string
	}{
		{"bytes=0-0", 206, all[:1]}, {"bytes=0-", 206, all}, {"bytes=10-19", 206, all[10:20]}, {"bytes=100-1000", 206, all[100:]},
		{"bytes=-5", 206, all[123:]}, {"bytes=-1000", 206, all}, {"BYTES=1-1", 206, all[1:2]}, {"bytes= 1-1", 206, all[1:2]},
		{"bytes=127-127", 206, all[127:]}, {"bytes=128-", 416, ""}, {"bytes=-0", 416, ""}, {"bytes=99999999999999999999-", 416, ""},
		{"bytes=0-99999999999999999999", 206, all},
		{"bytes=5-1", 200, all}, {"bytes=0-1,5-6", 200, all}, {"bytes=x-", 200, all}, {"bytes=-", 200, all}, {"bytes=+1-", 200, all},
		{"bytes", 200, all}, {"lines=0-1", 200, all}, {"bytes=" + strings.Repeat("0-0,", 5000), 200, all},
	} {
		w := ask(h, "GET", target, "Range", c.spec)
		if w.Code != c.status || w.Code != 416 && w.Body.String() != c.want {
			t.Errorf("%.40s: status %d and %d bytes, want %d and %d", c.spec, w.Code, w.Body.Len(), c.status, len(c.want))
		}
		if w.Code == 416 && w.Header().Get("Content-Range") != "bytes */128" {
			t.Errorf("%s: Content-Range is %q", c.spec, w.Header().Get("Content-Range"))
		}
	}
	for _, c := range []struct {
		name, value string
		status      int
	}{
		{"If-Range", etag, 206}, {"If-Range", `"other"`, 200}, {"If-Range", "W/" + etag, 200}, {"If-Range", "Sat, 29 Oct 1994 19:43:31 GMT", 200},
		{"If-None-Match", etag, 304}, {"If-None-Match", "W/" + etag, 304}, {"If-None-Match", `"x"`, 206}, {"If-None-Match", "*", 304},
		{"If-Match", etag, 206}, {"If-Match", "W/" + etag, 412}, {"If-Match", `"x"`, 412}, {"If-Match", "*", 206},
	} {
		if w := ask(h, "GET", target, "Range", "bytes=0-4", c.name, c.value); w.Code != c.status {
			t.Errorf("%s: %s: status %d, want %d", c.name, c.value, w.Code, c.status)
		}
	}
	if w := ask(h, "HEAD", target, "Range", "bytes=0-4"); w.Code != 200 || w.Header().Get("Content-Length") != size {
		t.Errorf("HEAD ignores ranges: status %d", w.Code)
	}
}

// A file that is compressed in transit has an entity tag of its own.
func TestEncodings(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", strings.Repeat("hello ", 1000))
	h := newHandler(t, &cacheserver.Options{Compress: true}, s)
	for _, target := range []string{"/" + narinfo.FileName(path), "/" + narInfoOf(t, h, path).URL} {
		plain := ask(h, "GET", target)
		for accept, want := range map[string]bool{"zstd": true, "gzip, ZSTD;q=0.5": true, "zstd;q=0": false, "gzip": false, "": false, "zstdx": false} {
			w := ask(h, "GET", target, "Accept-Encoding", accept)
			encoded := w.Header().Get("Content-Encoding") == "zstd"
			if encoded != want || w.Header().Get("Vary") != "Accept-Encoding" || encoded == (w.Header().Get("Etag") == plain.Header().Get("Etag")) {
				t.Errorf("%s: %q: %v", target, accept, w.Header())
			}
			if again := ask(h, "GET", target, "Accept-Encoding", accept, "If-None-Match", w.Header().Get("Etag")); again.Code != 304 {
				t.Errorf("%s: %q: status %d", target, accept, again.Code)
			}
		}
	}
}

// The keys sign only what the store vouches for.
func TestSignatures(t *testing.T) {
	key, trusted := newKey(t, "server-1"), newKey(t, "trusted-1")
	s := memstore.New(nil)
	addressed := addText(t, s, "x", "hello")
	unsigned := addArchive(t, s, "/nix/store/00000000000000000000000000000000-unsigned", fileArchive("1")).Path
	signed := addArchive(t, s, "/nix/store/00000000000000000000000000000001-signed", fileArchive("2"))
	copied := *signed
	if err := copied.Sign(trusted); err != nil {
		t.Fatal(err)
	}
	if err := store.AddSignatures(t.Context(), s, signed.Path, copied.Signatures); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		trusted signature.KeySet
		path    storepath.Path
		want    int // signatures
	}{
		{nil, addressed, 1}, {nil, unsigned, 0}, {nil, signed.Path, 1}, {signature.NewKeySet(trusted.Public()), signed.Path, 2},
	} {
		h := newHandler(t, &cacheserver.Options{Keys: []signature.SecretKey{key}, TrustedKeys: c.trusted}, s)
		n := narInfoOf(t, h, c.path)
		if len(n.Signatures) != c.want {
			t.Errorf("%s has %d signatures, want %d", c.path, len(n.Signatures), c.want)
		}
		good, err := n.CheckSignatures(signature.NewKeySet(key.Public(), trusted.Public()))
		if err != nil || len(good) != c.want {
			t.Errorf("%s has %d good signatures, want %d: %v", c.path, len(good), c.want, err)
		}
	}
}

func newKey(t *testing.T, name string) signature.SecretKey {
	t.Helper()
	key, err := signature.GenerateKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Of several stores, the first that has a path serves it. An archive with another hash comes from the store that has it.
func TestSeveralStores(t *testing.T) {
	first, second := memstore.New(nil), memstore.New(nil)
	const path = "/nix/store/00000000000000000000000000000000-x"
	one, two := addArchive(t, first, path, fileArchive("one")), addArchive(t, second, path, fileArchive("two"))
	only := addText(t, second, "only", "here")
	h := newHandler(t, nil, first, second)
	if n := narInfoOf(t, h, path); n.NARHash != one.NARHash {
		t.Errorf("the narinfo is of %v", n.NARHash)
	}
	narInfoOf(t, h, only)
	for _, info := range []*store.PathInfo{one, two} {
		w := ask(h, "GET", "/nar/"+path[11:43]+"-"+info.NARHash.Nix32()+".nar")
		if w.Code != 200 || nixhash.Sum(nixhash.SHA256, w.Body.Bytes()) != info.NARHash {
			t.Errorf("status %d, %v", w.Code, w.Body)
		}
	}
	if w := ask(h, "GET", "/nar/"+path[11:43]+"-"+nixhash.Sum(nixhash.SHA256, nil).Nix32()+".nar"); w.Code != 404 {
		t.Errorf("another archive has status %d", w.Code)
	}
	other := memstore.New(&memstore.Options{Dir: "/other/store"})
	if _, err := cacheserver.New([]store.Store{first, other}, nil); err == nil {
		t.Error("stores with different directories are one cache")
	}
	if _, err := cacheserver.New(nil, nil); err == nil {
		t.Error("no store is a cache")
	}
}

// Without a right token, a private cache tells nothing but that it works.
func TestTokens(t *testing.T) {
	s := memstore.New(nil)
	path := addText(t, s, "x", "hello")
	const token, other = "0123456789abcdef", "0123456789abcdeg"
	h := newHandler(t, &cacheserver.Options{ReadTokens: []string{"another-token-of-mine", token}}, s)
	basic := func(user, password string) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	for _, c := range []struct {
		authorization string
		want          int
	}{
		{"", 401}, {"Bearer " + token, 200}, {"bearer  " + token, 200}, {basic("", token), 200}, {basic("me", token), 200},
		{"Bearer " + other, 401}, {"Bearer " + token + "0", 401}, {"Bearer", 401}, {"Bearer ", 401}, {basic(token, ""), 401}, {basic("x", other), 401},
		{"Basic !!!", 401}, {token, 401}, {"Digest " + token, 401},
	} {
		for _, target := range []string{"/", "/nix-cache-info", "/" + narinfo.FileName(path), "/nope"} {
			w := ask(h, "GET", target, "Authorization", c.authorization)
			want := c.want
			if target == "/nope" && want == 200 {
				want = 404
			}
			if w.Code != want || want == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %q: status %d, want %d", target, c.authorization, w.Code, want)
			}
			if w.Code == 200 && !strings.HasPrefix(w.Header().Get("Cache-Control"), "private") {
				t.Errorf("%s: Cache-Control is %q", target, w.Header().Get("Cache-Control"))
			}
		}
	}
	if w := ask(h, "GET", "/health"); w.Code != 200 {
		t.Errorf("/health has status %d", w.Code)
	}
	for _, bad := range []string{"", "tiny", "a token with a space", "0123456789abcdeé"} {
		if _, err := cacheserver.New([]store.Store{s}, &cacheserver.Options{ReadTokens: []string{bad}}); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The start page has the public keys, and executes nothing.
func TestStartPage(t *testing.T) {
	key := newKey(t, "cache.example.org-1")
	h := newHandler(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, memstore.New(nil))
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = `x"><script>alert(1)</script>`
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	page := w.Body.String()
	if !strings.Contains(page, "cache.example.org-1:") || strings.Contains(page, "<script>") {
		t.Errorf("the page is %s", page)
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.HasPrefix(csp, "sandbox") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
}

// readAll reads a body, and returns whether it was complete.
func readAll(t *testing.T, url string) (body []byte, err error) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
