package cacheserver_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/store/memstore"
	"pix/storepath"
)

// flipBit changes the only file in a directory whose name has an extension. Its size remains.
func flipBit(t *testing.T, dir, extension string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+extension))
	if err != nil || len(names) != 1 {
		t.Fatalf("the files are %q, error %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A kept archive that was damaged while no server ran is not served, also not in parts that are right, and is fetched again.
func TestDamagedParts(t *testing.T) {
	key, src := newKey(t, "test-1"), memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 30_000))
	info := addSigned(t, src, "object", archive, key)
	for _, part := range []string{"", "bytes=0-", "bytes=0-99", "bytes=100-199", "bytes=160000-"} {
		dir := t.TempDir()
		opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir}
		first := newUpstream(t, src, opts)
		h := newHandler(t, nil, first)
		ask(h, http.MethodGet, archiveURLOf(t, h, info.Path))
		first.Close()
		flipBit(t, dir, ".nar")
		srv := serve(t, nil, newUpstream(t, src, opts))
		url := srv.URL + archiveURLOf(t, srv.Config.Handler, info.Path)
		if body, complete := download(t, url, part); complete {
			t.Errorf("range %q of a damaged archive: a complete response of %d bytes", part, len(body))
		}
		for range 2 { // the first response comes from the file that is being fetched
			if body, complete := download(t, url, "bytes=100-"); !complete || !bytes.Equal(body, archive[100:]) {
				t.Errorf("range %q: the next response: complete is %t, %d bytes", part, complete, len(body))
			}
		}
	}
}

// A compressed archive that was damaged while no server ran is compressed again.
func TestDamagedCompressed(t *testing.T) {
	s, dir := memstore.New(nil), t.TempDir()
	path, archive := addRandom(t, s, 1)
	opts := &cacheserver.Options{Compress: true, CompressedDir: dir}
	h := newHandler(t, opts, s)
	url := archiveURLOf(t, h, path)
	right := ask(h, http.MethodGet, url).Body.Bytes()
	h.Close()
	for _, part := range []string{"bytes=1000-1999", ""} {
		flipBit(t, dir, ".nar.zst")
		again := newHandler(t, opts, s)
		if r := ask(again, http.MethodGet, url, "Range", part); part != "" && !bytes.Equal(r.Body.Bytes(), right[1000:2000]) {
			t.Errorf("range %q: %d, %d bytes", part, r.Code, r.Body.Len())
		} else if part == "" && !bytes.Equal(decompress(t, r.Body.Bytes()), archive) {
			t.Errorf("the archive: %d, %d bytes", r.Code, r.Body.Len())
		}
		again.Close()
	}
}

// An archive with other contents than the content address of an unsigned path, which an older server has kept for this path, is not
// served. After the first request, the server asks the upstream cache again.
func TestForgedKeptArchive(t *testing.T) {
	for _, method := range []storepath.Method{storepath.Text, storepath.Flat} {
		for _, part := range []string{"", "bytes=8-", "bytes=8-20"} {
			src, dir := memstore.New(nil), t.TempDir()
			info := addAddressed(t, src, method, nixhash.SHA256, "right contents")
			wrong := fileArchive("wrong contents")
			forged := *info
			forged.NARHash, forged.NARSize = nixhash.Sum(nixhash.SHA256, wrong), uint64(len(wrong))
			text, err := narinfo.New(&forged, "none", forged.NARHash, forged.NARSize).MarshalText()
			if err != nil {
				t.Fatal(err)
			}
			for name, contents := range map[string][]byte{
				forged.NARHash.Nix32() + ".nar":                                  wrong,
				info.Path.HashPart() + "-" + forged.NARHash.Nix32() + ".narinfo": text,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), contents, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			srv := serve(t, nil, newUpstream(t, src, &cacheserver.UpstreamOptions{Dir: dir}))
			h := srv.Config.Handler
			if n := narInfoOf(t, h, info.Path); n.NARHash != forged.NARHash {
				t.Fatalf("the kept info is not used: %s", n.NARHash)
			}
			if body, complete := download(t, srv.URL+archiveURLOf(t, h, info.Path), part); complete {
				t.Errorf("%v, range %q: a complete response: %q", method, part, body)
			}
			if body, complete := download(t, srv.URL+archiveURLOf(t, h, info.Path), ""); !complete || !bytes.Equal(body, fileArchive("right contents")) {
				t.Errorf("%v, range %q: the next response: complete is %t, %q", method, part, complete, body)
			}
		}
	}
}

// An upstream cache cannot put an archive that was compressed for another path under a path whose name follows from a content
// address.
func TestForgedCompressedArchive(t *testing.T) {
	mem := memstore.New(nil)
	contents := strings.Repeat("right", 1<<18)
	wrong := fileArchive(strings.Repeat("wrong", 1<<18))
	info := addAddressed(t, mem, storepath.Text, nixhash.SHA256, contents)
	own := memstore.New(nil)
	other := addSigned(t, own, "other", wrong)
	for _, forged := range []bool{true, false} {
		src := &forgingStore{mem, info, fileArchive(contents)}
		if forged {
			src.archive = wrong
		}
		srv := serve(t, &cacheserver.Options{Compress: true, CompressedDir: t.TempDir()}, own, newUpstream(t, src, &cacheserver.UpstreamOptions{Dir: t.TempDir()}))
		h := srv.Config.Handler
		for range 2 { // the second response comes from the file
			if _, complete := download(t, srv.URL+archiveURLOf(t, h, other.Path), ""); !complete {
				t.Fatal("the other path is not served")
			}
		}
		if n := narInfoOf(t, h, info.Path); n.Compression != "zstd" {
			t.Fatalf("the archive is compressed with %s", n.Compression)
		}
		url := srv.URL + archiveURLOf(t, h, info.Path)
		if body, complete := download(t, url, ""); complete == forged {
			t.Errorf("forged is %t: complete is %t, %d bytes", forged, complete, len(body))
		} else if complete && !bytes.Equal(decompress(t, body), src.archive) {
			t.Error("the archive is another one")
		}
		if _, complete := download(t, url, "bytes=8-"); complete == forged {
			t.Errorf("a part, forged is %t: complete is %t", forged, complete)
		}
	}
}
