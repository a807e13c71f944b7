package cacheserver_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/internal/compression"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

const (
	testToken    = "a-token-of-an-uploader"
	trustedToken = "a-token-of-a-trusted-uploader"
)

// A pushWorld is a server that accepts uploads into an empty store.
type pushWorld struct {
	key   signature.SecretKey // trusted
	store store.Store
	h     http.Handler
}

func newPushWorld(t *testing.T, change func(*cacheserver.UploadOptions)) *pushWorld {
	t.Helper()
	w := &pushWorld{key: newKey(t, "test-1"), store: memstore.New(nil)}
	opts := &cacheserver.UploadOptions{
		Uploaders: []cacheserver.Uploader{{Name: "me", Token: testToken}, {Name: "trusted", Token: trustedToken, Trusted: true}},
		Dir:       t.TempDir(),
	}
	if change != nil {
		change(opts)
	}
	w.h = newHandler(t, &cacheserver.Options{TrustedKeys: signature.NewKeySet(w.key.Public()), Uploads: opts}, w.store)
	return w
}

// put uploads a file with a token, and returns the status and the text of the response.
func put(h http.Handler, token, target string, body []byte, header ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPut, target, bytes.NewReader(body))
	if token != "" {
		r.SetBasicAuth("nix", token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// encode compresses contents.
func encode(t *testing.T, method string, contents []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := compression.Encode(method, &b, 0, uint64(len(contents)))
	if err == nil {
		_, err = w.Write(contents)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A pushed object is an object that is uploaded.
type pushed struct {
	n    *narinfo.NarInfo
	file []byte // the compressed archive
}

// newPushed returns an object, signed by the keys.
func newPushed(t *testing.T, name string, archive []byte, references []storepath.Path, keys ...signature.SecretKey) *pushed {
	t.Helper()
	path, err := storepath.DefaultDir.Parse("/nix/store/" + nixhash.Sum(nixhash.SHA256, []byte(name)).Nix32()[:storepath.HashPartLen] + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references}
	if err := info.Sign(keys...); err != nil {
		t.Fatal(err)
	}
	file := encode(t, "xz", archive)
	return &pushed{narinfo.New(info, "xz", nixhash.Sum(nixhash.SHA256, file), uint64(len(file))), file}
}

// putArchive uploads the archive.
func (o *pushed) putArchive(t *testing.T, h http.Handler, token string) {
	t.Helper()
	if status, text := put(h, token, "/"+o.n.URL, o.file); status != http.StatusCreated {
		t.Fatalf("uploading the archive: %d, %s", status, text)
	}
}

// putInfo uploads the narinfo.
func (o *pushed) putInfo(t *testing.T, h http.Handler, token string) (status int, text string) {
	t.Helper()
	b, err := o.n.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return put(h, token, "/"+narinfo.FileName(o.n.Path), b)
}

// push uploads an object as Nix does.
func (o *pushed) push(t *testing.T, h http.Handler, token string) (status int, text string) {
	t.Helper()
	o.putArchive(t, h, token)
	return o.putInfo(t, h, token)
}

func (w *pushWorld) has(t *testing.T, path storepath.Path) bool {
	t.Helper()
	valid, err := w.store.IsValidPath(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return valid
}

func TestPush(t *testing.T) {
	w := newPushWorld(t, nil)
	archive := fileArchive("contents")
	o := newPushed(t, "object", archive, nil, w.key)
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Fatalf("HEAD of an archive that was not uploaded: %d", r.Code)
	}
	o.putArchive(t, w.h, testToken)
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusOK || r.Result().ContentLength != int64(len(o.file)) {
		t.Errorf("HEAD of an uploaded archive: %d, length %d", r.Code, r.Result().ContentLength)
	}
	for _, other := range []string{"", "Bearer " + trustedToken} {
		if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", other); r.Code != http.StatusNotFound {
			t.Errorf("HEAD of an archive by another client (%q): %d", other, r.Code)
		}
	}
	if r := ask(w.h, http.MethodGet, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Errorf("GET of an archive without a narinfo: %d", r.Code)
	}
	if w.has(t, o.n.Path) {
		t.Error("the path is visible before its narinfo")
	}
	if status, text := o.putInfo(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("narinfo: %d, %s", status, text)
	}
	got := narInfoOf(t, w.h, o.n.Path)
	if got.NARHash != o.n.NARHash || len(got.Signatures) != 1 || got.Signatures[0] != o.n.Signatures[0] {
		t.Errorf("the server returns %+v", got)
	}
	r := ask(w.h, http.MethodGet, "/"+got.URL)
	if b, _ := io.ReadAll(r.Body); !bytes.Equal(b, archive) {
		t.Errorf("the server returns an archive of %d bytes", len(b))
	}
	for range 2 { // again, with and without an archive
		if status, text := o.putInfo(t, w.h, testToken); status != http.StatusOK {
			t.Errorf("narinfo again: %d, %s", status, text)
		}
		o.putArchive(t, w.h, testToken)
	}
}

// References must be there first, and a path may refer to itself.
func TestPushReferences(t *testing.T) {
	w := newPushWorld(t, nil)
	dep := newPushed(t, "dep", fileArchive("dep"), nil, w.key)
	top := newPushed(t, "top", fileArchive("top"), []storepath.Path{dep.n.Path}, w.key)
	if status, text := top.push(t, w.h, testToken); status != http.StatusUnprocessableEntity || !strings.Contains(text, string(dep.n.Path)) {
		t.Errorf("without its reference: %d, %s", status, text)
	}
	if w.has(t, top.n.Path) {
		t.Error("a path without its reference is visible")
	}
	if status, text := dep.push(t, w.h, testToken); status != http.StatusCreated {
		t.Errorf("the reference: %d, %s", status, text)
	}
	if status, text := top.putInfo(t, w.h, testToken); status != http.StatusCreated { // its archive is still there
		t.Errorf("with its reference: %d, %s", status, text)
	}
}

// A narinfo that does not match its archive, its name or the cache is refused, and changes nothing.
func TestRefusedNarInfos(t *testing.T) {
	other := nixhash.Sum(nixhash.SHA256, []byte("other"))
	stranger := newKey(t, "stranger-1")
	tests := []struct {
		name   string
		spoil  func(w *pushWorld, n *narinfo.NarInfo)
		status int
		text   string
	}{
		{"file hash", func(_ *pushWorld, n *narinfo.NarInfo) { n.FileHash = other }, 422, "hash of the file"},
		{"file size", func(_ *pushWorld, n *narinfo.NarInfo) { n.FileSize++ }, 422, "bytes"},
		{"NAR hash", func(w *pushWorld, n *narinfo.NarInfo) { n.NARHash = other; n.Sign(w.key) }, 422, "hash mismatch"},
		{"NAR size", func(w *pushWorld, n *narinfo.NarInfo) { n.NARSize++; n.Sign(w.key) }, 422, "size mismatch"},
		{"compression", func(_ *pushWorld, n *narinfo.NarInfo) { n.Compression = "zstd" }, 422, "compressed"},
		{"archive that was not uploaded", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = narinfo.ArchiveURL(other, "xz") }, 422, "not uploaded"},
		{"absolute URL", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = "http://example.org/" + n.URL }, 422, "not uploaded"},
		{"URL of a host", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = "//example.org/" + n.URL }, 422, "not uploaded"},
		{"URL with dots", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = "nar/../" + n.URL }, 422, "not uploaded"},
		{"URL with escaped dots", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = "nar/%2e%2e/" + n.URL }, 422, "not uploaded"},
		{"URL outside", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL = strings.TrimPrefix(n.URL, "nar/") }, 422, "not uploaded"},
		{"URL with a query", func(_ *pushWorld, n *narinfo.NarInfo) { n.URL += "?x" }, 422, "not uploaded"},
		{"no signature", func(_ *pushWorld, n *narinfo.NarInfo) { n.Signatures = nil }, 403, "lacks a signature"},
		{"signature of another key", func(_ *pushWorld, n *narinfo.NarInfo) { n.Signatures = nil; n.Sign(stranger) }, 403, "lacks a signature"},
		{"signature of other references", func(_ *pushWorld, n *narinfo.NarInfo) { n.References = []storepath.Path{n.Path} }, 403, "lacks a signature"},
		{"wrong content address", func(_ *pushWorld, n *narinfo.NarInfo) {
			n.CA, _ = storepath.NewContentAddress(storepath.NAR, n.NARHash)
		}, 422, "content address"},
		{"many signatures", func(_ *pushWorld, n *narinfo.NarInfo) {
			for i := range 70 {
				s, _ := signature.New("key-"+strings.Repeat("x", i), make([]byte, 64))
				n.Signatures = append(n.Signatures, s.String())
			}
		}, 422, "signatures"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newPushWorld(t, nil)
			o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
			o.putArchive(t, w.h, testToken)
			good := *o.n
			test.spoil(w, o.n)
			status, text := o.putInfo(t, w.h, testToken)
			if status != test.status || !strings.Contains(text, test.text) || strings.Count(text, "\n") != 1 {
				t.Errorf("got %d, %q; want %d, %q", status, text, test.status, test.text)
			}
			if w.has(t, o.n.Path) {
				t.Error("the path is visible")
			}
			o.n = &good
			if status, text := o.putInfo(t, w.h, testToken); status != http.StatusCreated {
				t.Errorf("the right narinfo afterwards: %d, %q", status, text)
			}
		})
	}
}

// Files that are no narinfos, or narinfos of another path or store, are refused.
func TestRefusedTexts(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	o.putArchive(t, w.h, testToken)
	text, err := o.n.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	name := "/" + narinfo.FileName(o.n.Path)
	tests := []struct {
		name, target string
		body         []byte
		status       int
	}{
		{"HTML", name, []byte("<html><script>alert(1)</script></html>"), 422},
		{"nothing", name, nil, 422},
		{"another name", "/00000000000000000000000000000000.narinfo", text, 422},
		{"another store", name, bytes.ReplaceAll(text, []byte("/nix/store"), []byte("/gnu/store")), 422},
		{"large", name, append(bytes.Repeat([]byte("X: y\n"), 1<<20), text...), 413},
		{"dots", "/../" + narinfo.FileName(o.n.Path), text, 404},
		{"a directory", "/nar", text, 404},
		{"an unknown file", "/index.html", []byte("<script>"), 404},
		{"a file below serve", "/serve/" + o.n.Path.HashPart() + "/index.html", []byte("<script>"), 405},
		{"an archive with the name of a served one", "/nar/" + o.n.Path.HashPart() + "-" + o.n.NARHash.Nix32() + ".nar", o.file, 422},
	}
	for _, test := range tests {
		if status, text := put(w.h, testToken, test.target, test.body); status != test.status {
			t.Errorf("%s: got %d, %s", test.name, status, text)
		}
	}
	if w.has(t, o.n.Path) {
		t.Error("the path is visible")
	}
}

// Uploads never replace what the cache has.
func TestConflicts(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	if status, text := o.push(t, w.h, trustedToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	other := newPushed(t, "object", fileArchive("other contents"), nil, w.key)
	if status, text := other.push(t, w.h, trustedToken); status != http.StatusConflict {
		t.Errorf("other contents: %d, %s", status, text)
	}
	if got := narInfoOf(t, w.h, o.n.Path); got.NARHash != o.n.NARHash {
		t.Error("the path has changed")
	}
}

// The narinfo of a known path adds signatures of trusted keys, and no others.
func TestAddedSignatures(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil)
	if status, text := o.push(t, w.h, trustedToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	o.n.Sign(newKey(t, "stranger-1"), w.key)
	if status, text := o.putInfo(t, w.h, testToken); status != http.StatusOK {
		t.Fatalf("%d, %s", status, text)
	}
	if got := narInfoOf(t, w.h, o.n.Path).Signatures; len(got) != 1 || !strings.HasPrefix(got[0], "test-1:") {
		t.Errorf("the signatures are %q", got)
	}
}

func TestUploadAccess(t *testing.T) {
	w := newPushWorld(t, nil)
	unsigned := newPushed(t, "unsigned", fileArchive("contents"), nil)
	if status, text := unsigned.push(t, w.h, testToken); status != http.StatusForbidden {
		t.Errorf("an unsigned object of an untrusted uploader: %d, %s", status, text)
	}
	if status, text := unsigned.push(t, w.h, trustedToken); status != http.StatusCreated {
		t.Errorf("an unsigned object of a trusted uploader: %d, %s", status, text)
	}
	body := &countingBody{Reader: strings.NewReader("body")}
	for token, want := range map[string]int{"": 401, "a-wrong-token-of-someone": 401} {
		r := httptest.NewRequest(http.MethodPut, "/"+unsigned.n.URL, body)
		r.SetBasicAuth("nix", token)
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code != want || rec.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("token %q: %d, header %v", token, rec.Code, rec.Header())
		}
	}
	if body.reads != 0 {
		t.Error("the body of a client without a token was read")
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPatch} {
		if r := ask(w.h, method, "/"+unsigned.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD, PUT" {
			t.Errorf("%s: %d, Allow %q", method, r.Code, r.Header().Get("Allow"))
		}
	}
	readOnly := newHandler(t, &cacheserver.Options{ReadTokens: []string{"a-token-for-reading"}}, memstore.New(nil))
	if status, _ := put(readOnly, "a-token-for-reading", "/nix-cache-info", nil); status != http.StatusMethodNotAllowed {
		t.Errorf("a server without uploads: %d", status)
	}
	private := newHandler(t, &cacheserver.Options{
		ReadTokens: []string{"a-token-for-reading"},
		Uploads:    &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, memstore.New(nil))
	if status, _ := put(private, "a-token-for-reading", "/nix-cache-info", nil); status != http.StatusForbidden {
		t.Errorf("a token for reading: %d", status)
	}
	if r := ask(private, http.MethodGet, "/nix-cache-info", "Authorization", "Bearer "+testToken); r.Code != http.StatusOK {
		t.Errorf("reading with the token of an uploader: %d", r.Code)
	}
}

// A countingBody counts its reads.
type countingBody struct {
	io.Reader
	reads int
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.reads++
	return b.Reader.Read(p)
}

func TestUploadCodings(t *testing.T) {
	w := newPushWorld(t, nil)
	for _, method := range []string{"br", "zstd", "gzip", "xz"} {
		o := newPushed(t, "object-"+method, fileArchive(method), nil, w.key)
		o.putArchive(t, w.h, testToken)
		text, err := o.n.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), encode(t, method, text), "Content-Encoding", method); status != http.StatusCreated {
			t.Errorf("%s: %d, %s", method, status, text)
		}
		bomb := encode(t, method, make([]byte, 1<<20+1))
		if status, text := put(w.h, testToken, "/nix-cache-info", bomb, "Content-Encoding", method); status != http.StatusRequestEntityTooLarge && status != http.StatusUnprocessableEntity {
			t.Errorf("%s, 1 MiB: %d, %s", method, status, text)
		}
	}
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	for _, coding := range []string{"deflate", "br, gzip", "aws-chunked"} {
		if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), nil, "Content-Encoding", coding); status != http.StatusUnsupportedMediaType {
			t.Errorf("%s: %d, %s", coding, status, text)
		}
	}
	if status, text := put(w.h, testToken, "/"+o.n.URL, o.file, "Content-Encoding", "gzip"); status != http.StatusUnsupportedMediaType {
		t.Errorf("an archive with a coding: %d, %s", status, text)
	}
	if status, text := put(w.h, testToken, "/"+narinfo.FileName(o.n.Path), []byte("not br"), "Content-Encoding", "br"); status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong coding: %d, %s", status, text)
	}
}

// Listings and nix-cache-info are computed, and not believed.
func TestComputedFiles(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	listing := "/" + o.n.Path.HashPart() + ".ls"
	forged := []byte(`{"version":1,"root":{"type":"regular","size":1000000,"narOffset":0}}`)
	if status, text := put(w.h, testToken, listing, forged); status != http.StatusOK { // Nix sends it before the archive
		t.Errorf("a listing: %d, %s", status, text)
	}
	if r := ask(w.h, http.MethodGet, listing); r.Code != http.StatusNotFound {
		t.Errorf("the listing of a path that does not exist: %d", r.Code)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	if r := ask(w.h, http.MethodGet, listing); r.Code != http.StatusOK || !strings.Contains(r.Body.String(), `"size":8`) {
		t.Errorf("the listing: %d, %s", r.Code, r.Body)
	}
	for text, want := range map[string]int{
		"StoreDir: /nix/store\n":                                200,
		"StoreDir: /nix/store\nWantMassQuery: 0\nPriority: 1\n": 200,
		"StoreDir: /gnu/store\n":                                409,
		"<html>":                                                409,
		"StoreDir: nix\n":                                       422,
		"StoreDir: /nix/store\n" + strings.Repeat("x: y\n", 300_000): 413,
	} {
		if status, reason := put(w.h, testToken, "/nix-cache-info", []byte(text)); status != want {
			t.Errorf("%.40q: %d, %s", text, status, reason)
		}
	}
	if r := ask(w.h, http.MethodGet, "/nix-cache-info"); !strings.Contains(r.Body.String(), "Priority: 30") {
		t.Errorf("nix-cache-info is %q", r.Body)
	}
}

// A content-addressed object needs no signature, but its contents must have the address.
func TestPushContentAddressed(t *testing.T) {
	w := newPushWorld(t, nil)
	src := memstore.New(nil)
	path := addText(t, src, "text", "contents")
	info, err := src.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, contents := range []string{"other contents", "contents"} {
		want := map[string]int{"other contents": 422, "contents": 201}[contents]
		o := newPushed(t, "text", fileArchive(contents), nil)
		o.n.Path, o.n.CA = path, info.CA
		if status, text := o.push(t, w.h, testToken); status != want {
			t.Errorf("%s: %d, %s", contents, status, text)
		}
		if has := w.has(t, path); has != (want == 201) {
			t.Errorf("%s: visible is %t", contents, has)
		}
	}
}

func TestPushRealisations(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "output", fileArchive("output"), nil, w.key)
	hash := nixhash.Sum(nixhash.SHA256, []byte("derivation"))
	r := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Output: "out"}, Realisation: store.Realisation{OutPath: o.n.Path}}
	target := "/realisations/" + r.ID.HashID() + ".doi"
	upload := func(token, target string) (int, string) {
		t.Helper()
		text, err := r.JSON(storepath.DefaultDir)
		if err != nil {
			t.Fatal(err)
		}
		return put(w.h, token, target, text)
	}
	fingerprint, err := signature.OldRealisationFingerprint(hash, "out", o.n.Path)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := upload(testToken, target); status != http.StatusForbidden {
		t.Errorf("unsigned: %d, %s", status, text)
	}
	r.Signatures = []string{newKey(t, "stranger-1").Sign(fingerprint).String()}
	if status, text := upload(testToken, target); status != http.StatusForbidden {
		t.Errorf("signed by another key: %d, %s", status, text)
	}
	r.Signatures = []string{w.key.Sign(fingerprint).String()}
	if status, text := upload(testToken, target); status != http.StatusUnprocessableEntity {
		t.Errorf("without the output: %d, %s", status, text)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	if status, text := upload(testToken, strings.Replace(target, "!out", "!dev", 1)); status != http.StatusUnprocessableEntity {
		t.Errorf("under another name: %d, %s", status, text)
	}
	if status, text := upload(testToken, target); status != http.StatusCreated {
		t.Errorf("signed: %d, %s", status, text)
	}
	if status, text := upload(testToken, target); status != http.StatusOK {
		t.Errorf("again: %d, %s", status, text)
	}
	if got := ask(w.h, http.MethodGet, target); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), o.n.Path.Base()) {
		t.Errorf("the server returns %d, %s", got.Code, got.Body)
	}
	other := newPushed(t, "other", fileArchive("other"), nil, w.key)
	if status, text := other.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	r.OutPath = other.n.Path
	if status, text := upload(trustedToken, target); status != http.StatusConflict {
		t.Errorf("another path: %d, %s", status, text)
	}
}

// The quota of an uploader bounds what waits for narinfos.
func TestUploadLimits(t *testing.T) {
	w := newPushWorld(t, func(o *cacheserver.UploadOptions) { o.Quota, o.MaxFile = 3000, 2000 })
	noise := func(i byte) []byte { // does not compress
		b := []byte(nixhash.Sum(nixhash.SHA256, []byte{i}).Base16())
		for len(b) < 1500 {
			b = append(b, nixhash.Sum(nixhash.SHA256, b).Base16()...)
		}
		return b
	}
	var status int
	var text string
	for i := range byte(5) {
		archive := fileArchive(string(noise(i)))
		name := "/nar/" + nixhash.Sum(nixhash.SHA256, archive).Nix32() + ".nar"
		if status, text = put(w.h, testToken, name, archive); status == http.StatusInsufficientStorage {
			break
		}
	}
	if status != http.StatusInsufficientStorage {
		t.Errorf("beyond the quota: %d, %s", status, text)
	}
	large := fileArchive(strings.Repeat("x", 5000))
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, large).Nix32()+".nar", large); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large file: %d, %s", status, text)
	}
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, nil).Nix32()+".nar.lzip", nil); status != http.StatusUnsupportedMediaType {
		t.Errorf("lzip: %d, %s", status, text)
	}
	if status, text := put(w.h, trustedToken, "/nar/"+nixhash.Sum(nixhash.SHA256, nil).Nix32()+".nar", large[:1000]); status != http.StatusUnprocessableEntity {
		t.Errorf("another hash: %d, %s", status, text)
	}
}

// Below /upload a client sees only the store that gets the uploads.
func TestUploadPrefix(t *testing.T) {
	first, second := memstore.New(nil), memstore.New(nil)
	path := addText(t, second, "text", "contents")
	h := newHandler(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()}}, first, second)
	if r := ask(h, http.MethodGet, "/"+narinfo.FileName(path)); r.Code != http.StatusOK {
		t.Errorf("the path of the second store: %d", r.Code)
	}
	if r := ask(h, http.MethodGet, "/upload/"+narinfo.FileName(path)); r.Code != http.StatusNotFound {
		t.Errorf("the path of the second store, below /upload: %d", r.Code)
	}
	if r := ask(h, http.MethodGet, "/upload/nix-cache-info"); r.Code != http.StatusOK {
		t.Errorf("nix-cache-info below /upload: %d", r.Code)
	}
	if status, text := put(h, testToken, "/upload/nix-cache-info", []byte("StoreDir: /nix/store\n")); status != http.StatusOK {
		t.Errorf("uploading below /upload: %d, %s", status, text)
	}
	plain := newHandler(t, nil, first)
	if r := ask(plain, http.MethodGet, "/upload/nix-cache-info"); r.Code != http.StatusNotFound {
		t.Errorf("a server without uploads: %d", r.Code)
	}
}

// A client that breaks off leaves nothing, and the server goes on.
func TestCutUpload(t *testing.T) {
	w := newPushWorld(t, nil)
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	body, writer := io.Pipe()
	r, err := http.NewRequest(http.MethodPut, srv.URL+"/"+o.n.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(len(o.file))
	r.SetBasicAuth("nix", testToken)
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	writer.Write(o.file[:10]) // returns when the client has read it
	writer.CloseWithError(errors.New("the client breaks off"))
	if err := <-ended; err == nil {
		t.Error("a cut request was answered")
	}
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Errorf("HEAD of a cut archive: %d", r.Code)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Errorf("after a cut upload: %d, %s", status, text)
	}
}
