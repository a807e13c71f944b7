package cacheserver_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/cacheserver"
	"pix/internal/compression"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// addRandom adds a large object that zstd cannot compress much.
func addRandom(t *testing.T, s store.Store, n int) (storepath.Path, []byte) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, 1<<20)
	random.Read(b)
	archive := fileArchive(string(b))
	path := storepath.Path(fmt.Sprintf("/nix/store/%032d-large", n))
	addArchive(t, s, path, archive)
	return path, archive
}

func decompress(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := compression.Decode("zstd", bytes.NewReader(b), compression.MaxWindow)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A compressed archive has the same bytes for every client, also in parts, and after a restart.
func TestCompressed(t *testing.T) {
	s := memstore.New(nil)
	path, archive := addRandom(t, s, 1)
	dir := t.TempDir()
	opts := &cacheserver.Options{Compress: true, CompressedDir: dir, MaxEncoders: 2}
	h := newHandler(t, opts, s)
	n := narInfoOf(t, h, path)
	if n.Compression != "zstd" || n.FileSize != 0 || !n.FileHash.IsZero() {
		t.Errorf("the narinfo has %s, %d bytes", n.Compression, n.FileSize)
	}
	url := "/" + n.URL
	if w := ask(h, "HEAD", url); w.Code != 200 || len(files(t, dir)) != 0 {
		t.Errorf("HEAD: status %d, and %d files", w.Code, len(files(t, dir)))
	}
	first := make([][]byte, 4) // at once
	var group sync.WaitGroup
	for i := range first {
		group.Go(func() {
			if i == 3 { // waits for the end
				first[i] = append(ask(h, "GET", url, "Range", "bytes=0-99").Body.Bytes(), ask(h, "GET", url, "Range", "bytes=100-").Body.Bytes()...)
				return
			}
			first[i] = ask(h, "GET", url).Body.Bytes()
		})
	}
	group.Wait()
	if !bytes.Equal(decompress(t, first[0]), archive) {
		t.Error("the archive is another one")
	}
	for i := range first {
		if !bytes.Equal(first[i], first[0]) {
			t.Errorf("client %d has other bytes", i)
		}
	}
	h.Close()
	again := newHandler(t, opts, s)
	w := ask(again, "GET", url)
	etag := w.Header().Get("Etag")
	if !bytes.Equal(w.Body.Bytes(), first[0]) || etag == "" || w.Header().Get("Content-Length") == "" {
		t.Errorf("after a restart: %v", w.Header())
	}
	if w := ask(again, "GET", url, "Range", "bytes=1000-1999", "If-Range", etag); w.Code != 206 || !bytes.Equal(w.Body.Bytes(), first[0][1000:2000]) {
		t.Errorf("a part has status %d", w.Code)
	}
	if w := ask(again, "HEAD", url); w.Header().Get("Content-Length") == "" || w.Body.Len() != 0 {
		t.Errorf("HEAD: %v", w.Header())
	}
	if w := ask(again, "GET", strings.TrimSuffix(url, ".zst")); !bytes.Equal(w.Body.Bytes(), archive) {
		t.Error("the plain archive is not served")
	}
}

func files(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// The directory stays below its limit, and incomplete and damaged files in it are deleted.
func TestCompressedSize(t *testing.T) {
	s := memstore.New(nil)
	dir := t.TempDir()
	const limit = 5 << 20
	opts := &cacheserver.Options{Compress: true, CompressedDir: dir, CompressedSize: limit, MaxEncoders: 1}
	h := newHandler(t, opts, s)
	var urls []string
	for i := range 8 {
		path, archive := addRandom(t, s, i)
		urls = append(urls, "/"+narInfoOf(t, h, path).URL)
		if w := ask(h, "GET", urls[i]); !bytes.Equal(decompress(t, w.Body.Bytes()), archive) {
			t.Errorf("%d is another archive", i)
		}
		if i > 0 {
			ask(h, "GET", urls[0]) // it is always the last one that was used, so it is never deleted
		}
	}
	size := int64(0)
	for _, e := range files(t, dir) {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > limit || size < limit/2 {
		t.Errorf("the files have %d bytes", size)
	}
	huge := addText(t, s, "huge", strings.Repeat("x", 3<<20))
	if n := narInfoOf(t, h, huge); n.Compression != "none" {
		t.Error("an archive that could fill the directory is compressed")
	}
	h.Close()
	for _, e := range files(t, dir)[1:] {
		os.Truncate(filepath.Join(dir, e.Name()), 1000)
	}
	for _, name := range []string{".compressing-1", "a-file-of-others"} {
		os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644)
	}
	newHandler(t, opts, s)
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("%v are left", got)
	}
}

// Bytes that a client has are not sent again when a download is resumed, and it may be resumed when the first client has gone.
func TestCompressedResume(t *testing.T) {
	s := memstore.New(nil)
	path, archive := addRandom(t, s, 1)
	srv := serve(t, &cacheserver.Options{Compress: true, CompressedDir: t.TempDir(), StallTimeout: time.Minute}, s)
	url := srv.URL + "/" + narInfoOf(t, srv.Config.Handler, path).URL
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 10_000)
	if _, err := io.ReadFull(resp.Body, head); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r, _ := http.NewRequest("GET", url, nil)
	r.Header.Set("Range", "bytes=10000-")
	if resp, err = http.DefaultClient.Do(r); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 206 {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	if !bytes.Equal(decompress(t, append(head, rest...)), archive) {
		t.Error("the parts are not the archive")
	}
}
