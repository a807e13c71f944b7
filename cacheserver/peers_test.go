package cacheserver_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A server may have several keys. Each of them signs, beside the signatures in the store.
func TestSeveralKeys(t *testing.T) {
	old, current, own := newKey(t, "old-1"), newKey(t, "new-1"), newKey(t, "own-1")
	s := memstore.New(nil)
	info := addSigned(t, s, "object", fileArchive("contents"), own)
	h := newHandler(t, &cacheserver.Options{Keys: []signature.SecretKey{old, current}, TrustedKeys: signature.NewKeySet(own.Public())}, s)
	n := narInfoOf(t, h, info.Path)
	for _, key := range []signature.SecretKey{old, current, own} {
		if good, err := n.CheckSignatures(signature.NewKeySet(key.Public())); err != nil || len(good) != 1 {
			t.Errorf("%d signatures by %s, error %v: %q", len(good), key.Public(), err, n.Signatures)
		}
	}
}

// The URLs of archives of other cache servers work in an upstream cache.
func TestUpstreamURLs(t *testing.T) {
	key := newKey(t, "test-1")
	for server, url := range map[string]string{
		"harmonia":     "nar/HASH.nar?hash=PART",
		"nix-serve-ng": "nar/PART-HASH.nar",
		"attic":        "nar/PART.nar",
		"snix":         "nar/snix-castore/CgAQABgB?narsize=SIZE",
		"below":        "a/deep/directory/PART.nar",
		"root":         "PART.nar",
	} {
		contents := strings.Repeat(server, 1000)
		o := newPushed(t, "object", fileArchive(contents), nil, key)
		o.file, o.n.Compression, o.n.FileSize = fileArchive(contents), "none", o.n.NARSize
		o.n.FileHash = o.n.NARHash
		o.n.URL = strings.NewReplacer("HASH", o.n.NARHash.Nix32(), "PART", o.n.Path.HashPart(), "SIZE", "100").Replace(url)
		files := &hostileUpstream{files: map[string][]byte{"/nix-cache-info": []byte("StoreDir: /nix/store\n")}}
		files.add(t, o)
		path, query, _ := strings.Cut(o.n.URL, "?")
		from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/"+path && r.URL.RawQuery == query {
				w.Write(o.file)
				return
			}
			files.ServeHTTP(w, r)
		}))
		src, err := binarycache.Open(t.Context(), from.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: true}})
		if err != nil {
			t.Fatal(err)
		}
		srv := serve(t, nil, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: t.TempDir()}))
		if body, complete := download(t, srv.URL+archiveURLOf(t, srv.Config.Handler, o.n.Path), ""); !complete || !bytes.Equal(body, o.file) {
			t.Errorf("%s: complete is %t, %d bytes", server, complete, len(body))
		}
		from.Close()
	}
}

// A copy to the server skips what an upstream cache has. A copy to /upload does not.
func TestSkippedUploads(t *testing.T) {
	key := newKey(t, "test-1")
	src, own := memstore.New(nil), memstore.New(nil)
	info := addSigned(t, src, "object", fileArchive("contents"), key)
	keys := signature.NewKeySet(key.Public())
	srv := serve(t, &cacheserver.Options{
		TrustedKeys: keys, Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{}}, Dir: t.TempDir()},
	}, own, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: keys}))
	for _, prefix := range []string{"", "/upload"} {
		dst, err := binarycache.Open(t.Context(), srv.URL+prefix, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Copy(t.Context(), dst, src, []storepath.Path{info.Path}, nil)
		if err != nil {
			t.Fatal(err)
		}
		dst.Close()
		if valid, err := own.IsValidPath(t.Context(), info.Path); err != nil || valid != (prefix == "/upload") {
			t.Errorf("a copy to %q: uploaded is %t, error %v", prefix, valid, err)
		}
	}
}
