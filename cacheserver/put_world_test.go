package cacheserver_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
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

// compress compresses contents.
func compress(method string, contents []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := compression.Encode(method, &b, 0, uint64(len(contents)))
	if err == nil {
		_, err = w.Write(contents)
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// encode compresses contents.
func encode(t *testing.T, method string, contents []byte) []byte {
	t.Helper()
	b, err := compress(method, contents)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A pushed object is an object that is uploaded.
type pushed struct {
	n    *narinfo.NarInfo
	file []byte // the compressed archive
}

// newPushed returns an object, signed by the keys.
func newPushed(t *testing.T, name string, archive []byte, references []storepath.Path, keys ...signature.SecretKey) *pushed {
	t.Helper()
	info := newSigned(t, name, archive, references, keys...)
	file := encode(t, "xz", archive)
	return &pushed{narinfo.New(info, "xz", nixhash.Sum(nixhash.SHA256, file), uint64(len(file))), file}
}

// newSigned returns the info of an object, signed by the keys.
func newSigned(t *testing.T, name string, archive []byte, references []storepath.Path, keys ...signature.SecretKey) *store.PathInfo {
	t.Helper()
	path, err := storepath.DefaultDir.Parse("/nix/store/" + nixhash.Sum(nixhash.SHA256, []byte(name)).Nix32()[:storepath.HashPartLen] + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	info := &store.PathInfo{Path: path, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive)), References: references}
	if err := info.Sign(keys...); err != nil {
		t.Fatal(err)
	}
	return info
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
