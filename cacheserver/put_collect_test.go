package cacheserver_test

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/localstore"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// A collectWorld is a server that accepts uploads into a store in a directory, which another process collects.
type collectWorld struct {
	key   signature.SecretKey
	root  string
	other *localstore.Store
}

func newCollectWorld(t *testing.T) *collectWorld {
	t.Helper()
	w := &collectWorld{key: newKey(t, "test-1"), root: t.TempDir()}
	w.other = w.open(t)
	return w
}

func (w *collectWorld) open(t *testing.T) *localstore.Store {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: w.root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve starts a server. end ends the protection of the paths that it has received.
func (w *collectWorld) serve(t *testing.T) (h http.Handler, end func()) {
	t.Helper()
	s := w.open(t)
	handler := newHandler(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(w.key.Public()),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Name: "me", Token: testToken}}, Dir: t.TempDir()},
	}, s)
	return handler, func() {
		handler.Close()
		s.Close()
	}
}

// collect deletes all dead paths, and reports whether a path remains.
func (w *collectWorld) collect(t *testing.T, path storepath.Path) (valid bool) {
	t.Helper()
	_, err := w.other.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
	if err == nil {
		valid, err = w.other.IsValidPath(t.Context(), path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return valid
}

// An uploaded path is not collected before the paths that refer to it are uploaded, also if the cache had it before the push. An
// archive that waits for its narinfo is not in the store, so no collector deletes it. When the server ends, the paths need roots of
// their own.
func TestCollectedUploads(t *testing.T) {
	w := newCollectWorld(t)
	base := newPushed(t, "base", fileArchive("base"), nil, w.key)
	top := newPushed(t, "top", fileArchive("top"), []storepath.Path{base.n.Path}, w.key)
	info := narinfo.FileName(base.n.Path)
	push := func(h http.Handler, o *pushed, between func()) {
		t.Helper()
		o.putArchive(t, h, testToken)
		between()
		if status, text := o.putInfo(t, h, testToken); status >= 300 {
			t.Fatalf("uploading '%s': %d, %s", o.n.Path, status, text)
		}
	}
	for what, find := range map[string]func(h http.Handler){
		"uploaded by this server":       func(h http.Handler) { push(h, base, func() { w.collect(t, base.n.Path) }) },
		"found before the push by GET":  func(h http.Handler) { askWithToken(t, h, http.MethodGet, "/upload/"+info) },
		"found before the push by HEAD": func(h http.Handler) { askWithToken(t, h, http.MethodHead, "/upload/"+info) },
		"uploaded again":                func(h http.Handler) { base.putInfo(t, h, testToken) },
	} {
		if what != "uploaded by this server" {
			h, end := w.serve(t)
			push(h, base, func() {})
			end()
		}
		h, end := w.serve(t)
		find(h)
		if !w.collect(t, base.n.Path) {
			t.Fatalf("%s: the path was collected", what)
		}
		push(h, top, func() { w.collect(t, base.n.Path) })
		if !w.collect(t, top.n.Path) {
			t.Errorf("%s: the path that refers to it was collected", what)
		}
		end()
		if w.collect(t, base.n.Path) {
			t.Errorf("%s: the path is still protected when the server has ended", what)
		}
	}
}

// askWithToken asks for a narinfo that must be there.
func askWithToken(t *testing.T, h http.Handler, method, target string) {
	t.Helper()
	if r := ask(h, method, target, "Authorization", "Bearer "+testToken); r.Code != http.StatusOK {
		t.Fatalf("%s %s: %d", method, target, r.Code)
	}
}

// A client without a token for uploads protects nothing.
func TestUnprotectedReads(t *testing.T) {
	w := newCollectWorld(t)
	base := newPushed(t, "base", fileArchive("base"), nil, w.key)
	h, end := w.serve(t)
	if status, text := base.push(t, h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	end()
	h, _ = w.serve(t)
	for _, target := range []string{"/", "/upload/"} {
		if r := ask(h, http.MethodGet, target+narinfo.FileName(base.n.Path)); r.Code != http.StatusOK {
			t.Fatalf("%s: %d", target, r.Code)
		}
	}
	if w.collect(t, base.n.Path) {
		t.Error("the path is protected")
	}
}

// A path that is collected while a client downloads it, whole or in parts, is absent afterwards. No response with other bytes is
// complete.
func TestCollectedDownload(t *testing.T) {
	w := newCollectWorld(t)
	contents := strings.Repeat("0123456789", 1<<20) // more than the buffers of a connection
	object := newSigned(t, "object", fileArchive(contents), nil, w.key)
	for _, part := range []string{"", "bytes=1000-"} {
		adding := w.open(t)
		if err := store.AddNAR(t.Context(), adding, object, bytes.NewReader(fileArchive(contents)), &store.AddOptions{NoSignatures: true}); err != nil {
			t.Fatal(err)
		}
		adding.Close() // otherwise the path is a temporary root
		srv := serve(t, nil, w.open(t))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+archiveURLOf(t, srv.Config.Handler, object.Path), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fileArchive(contents)
		if part != "" {
			r.Header.Set("Range", part)
			want = want[1000:]
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 1000)
		if _, err := io.ReadFull(resp.Body, head); err != nil {
			t.Fatal(err)
		}
		if w.collect(t, object.Path) {
			t.Fatal("the path was not collected")
		}
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && !bytes.Equal(append(head, rest...), want) {
			t.Errorf("range %q: a complete response with %d wrong bytes", part, len(rest))
		}
		if r := ask(srv.Config.Handler, http.MethodGet, "/"+narinfo.FileName(object.Path)); r.Code != http.StatusNotFound {
			t.Errorf("range %q: the narinfo afterwards: %d", part, r.Code)
		}
	}
}
