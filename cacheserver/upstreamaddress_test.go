package cacheserver_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
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

// A forgingStore has other contents for one path. Its info has the hash of these contents, and the content address of the right
// ones.
type forgingStore struct {
	store.Store
	info    *store.PathInfo
	archive []byte
}

// Unwrap returns the store with all other capabilities.
func (s *forgingStore) Unwrap() store.Store { return s.Store }

func (s *forgingStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if path != s.info.Path {
		return s.Store.QueryPathInfo(ctx, path)
	}
	forged := *s.info
	forged.NARHash, forged.NARSize = nixhash.Sum(nixhash.SHA256, s.archive), uint64(len(s.archive))
	return &forged, nil
}

func (s *forgingStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if path != s.info.Path {
		return store.ReadNAR(ctx, s.Store, path)
	}
	return io.NopCloser(bytes.NewReader(s.archive)), nil
}

// addAddressed adds a file under a content address.
func addAddressed(t *testing.T, s store.Store, method storepath.Method, algo nixhash.Algorithm, contents string) *store.PathInfo {
	t.Helper()
	archive := fileArchive(contents)
	hashed := archive
	if method != storepath.NAR {
		hashed = []byte(contents)
	}
	ca, err := storepath.NewContentAddress(method, nixhash.Sum(algo, hashed))
	if err != nil {
		t.Fatal(err)
	}
	info := &store.PathInfo{CA: ca, NARHash: nixhash.Sum(nixhash.SHA256, archive), NARSize: uint64(len(archive))}
	if info.Path, err = storepath.DefaultDir.FixedOutputPath("addressed", ca, storepath.References{}); err == nil {
		err = store.AddNAR(t.Context(), s, info, bytes.NewReader(archive), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// An upstream cache cannot put other contents under a path whose name follows from a content address. No response with them is
// complete, and the server's key does not sign them. The right contents are served.
func TestForgedAddresses(t *testing.T) {
	const right, wrong = "right contents", "wrong contents"
	for _, c := range []struct {
		method storepath.Method
		algo   nixhash.Algorithm
	}{{storepath.Text, nixhash.SHA256}, {storepath.Flat, nixhash.SHA256}, {storepath.Flat, nixhash.SHA512}, {storepath.NAR, nixhash.SHA256}, {storepath.NAR, nixhash.SHA1}} {
		for _, keeps := range []string{"nothing", "the path", "the other path first"} {
			dir := ""
			if keeps != "nothing" {
				dir = t.TempDir()
			}
			mem, key := memstore.New(nil), newKey(t, "server-1")
			info := addAddressed(t, mem, c.method, c.algo, right)
			// The wrong contents are the right ones of another path, so the server may have fetched them.
			other := addAddressed(t, mem, storepath.NAR, nixhash.SHA256, wrong)
			for _, forged := range []bool{true, false} {
				src := &forgingStore{mem, info, fileArchive(right)}
				if forged {
					src.archive = fileArchive(wrong)
				}
				u := newUpstream(t, src, &cacheserver.UpstreamOptions{Dir: dir})
				srv := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, u)
				if keeps == "the other path first" {
					if r := ask(srv.Config.Handler, http.MethodGet, archiveURLOf(t, srv.Config.Handler, other.Path)); r.Code != http.StatusOK {
						t.Fatalf("the other path: %d", r.Code)
					}
				}
				r := ask(srv.Config.Handler, http.MethodGet, "/"+narinfo.FileName(info.Path))
				if signed := strings.Contains(r.Body.String(), "Sig: server-1:"); signed && (c.method != storepath.NAR || forged) {
					t.Errorf("%v: the key signs contents that were not compared: %s", c, r.Body)
				}
				url := srv.URL + "/nar/" + info.Path.HashPart() + "-" + nixhash.Sum(nixhash.SHA256, src.archive).Nix32() + ".nar"
				for _, part := range []string{"", "bytes=8-"} {
					if body, complete := download(t, url, part); complete == forged {
						t.Errorf("%v, keeps %s, forged %t, range %q: complete is %t: %q", c, keeps, forged, part, complete, body)
					}
				}
				u.Close() // waits for the fetch
				if forged && keeps == "the path" && len(fetchedNames(t, dir)) != 0 {
					t.Errorf("%v: %q is kept", c, fetchedNames(t, dir))
				}
			}
		}
	}
}

// download reads a file, or a part of it. It reports whether the response was complete.
func download(t *testing.T, url, part string) (body []byte, complete bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if part != "" {
		r.Header.Set("Range", part)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, err == nil && resp.StatusCode/100 == 2
}

// An unsigned object with a self-reference may have other contents with the same content address, so it is not served.
func TestWeakUpstreamAddress(t *testing.T) {
	src, key := memstore.New(nil), newKey(t, "test-1")
	self := newPushed(t, "self", fileArchive("contents"), nil).n.PathInfo
	var err error
	if self.CA, err = storepath.NewContentAddress(storepath.NAR, self.NARHash); err == nil {
		self.Path, err = storepath.DefaultDir.FixedOutputPath("self", self.CA, storepath.References{Self: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	self.References = []storepath.Path{self.Path}
	for _, keys := range [][]signature.SecretKey{nil, {key}} {
		if err := self.Sign(keys...); err != nil {
			t.Fatal(err)
		}
		u := newUpstream(t, &forgingStore{src, &self, fileArchive("contents")}, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
		if valid, err := u.IsValidPath(t.Context(), self.Path); err != nil || valid != (keys != nil) {
			t.Errorf("with %d signatures: valid is %t, error %v", len(self.Signatures), valid, err)
		}
	}
}

// A binary cache that is served has not compared contents with content addresses, so the key does not sign these paths.
func TestForgedAddressInCache(t *testing.T) {
	key := newKey(t, "server-1")
	dst, err := binarycache.Open(t.Context(), "file://"+filepath.Join(t.TempDir(), "cache")+"?compression=none", &binarycache.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	text := addAddressed(t, memstore.New(nil), storepath.Text, nixhash.SHA256, "right contents")
	forged := newPushed(t, "addressed", fileArchive("wrong contents"), nil).n.PathInfo
	forged.Path, forged.CA = text.Path, text.CA
	if err := store.AddNAR(t.Context(), dst, &forged, bytes.NewReader(fileArchive("wrong contents")), nil); err != nil {
		t.Fatal(err)
	}
	if n := narInfoOf(t, newHandler(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, dst), text.Path); len(n.Signatures) != 0 {
		t.Errorf("the signatures are %q", n.Signatures)
	}
}

// An upstream cache cannot put a directory under the path of an empty file, whose hash is the one of nothing, nor a malformed archive
// that has the right contents.
func TestForgedAddressOfOtherThanFile(t *testing.T) {
	directory, err := os.MkdirTemp(t.TempDir(), "")
	if err == nil {
		err = os.WriteFile(filepath.Join(directory, "evil"), []byte("evil"), 0o600)
	}
	var dumped bytes.Buffer
	if err == nil {
		err = nar.Dump(t.Context(), &dumped, directory, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	right := fileArchive("right")
	for contents, wrong := range map[string][]byte{"": dumped.Bytes(), "right": right[:len(right)-8]} {
		for _, dir := range []string{"", t.TempDir()} {
			mem := memstore.New(nil)
			info := addAddressed(t, mem, storepath.Text, nixhash.SHA256, contents)
			u := newUpstream(t, &forgingStore{mem, info, wrong}, &cacheserver.UpstreamOptions{Dir: dir})
			srv := serve(t, nil, u)
			url := srv.URL + "/nar/" + info.Path.HashPart() + "-" + nixhash.Sum(nixhash.SHA256, wrong).Nix32() + ".nar"
			for _, part := range []string{"", "bytes=8-"} {
				if body, complete := download(t, url, part); complete {
					t.Errorf("%q, range %q: a complete response of %d bytes", contents, part, len(body))
				}
			}
		}
	}
}
