package cacheserver_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"pix/narinfo"
	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

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
