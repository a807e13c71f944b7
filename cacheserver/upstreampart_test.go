package cacheserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/cacheserver"
	"pix/nar"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
)

// Many parts of one archive cause one fetch, also if no directory for archives was given. The temporary files are deleted.
func TestUpstreamParts(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 30_000))
	info := addSigned(t, mem, "object", archive, key)
	for _, dir := range []string{"", t.TempDir()} {
		src := &slowStore{Store: mem}
		u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
		h := newHandler(t, nil, u)
		url := archiveURLOf(t, h, info.Path)
		var clients sync.WaitGroup
		for i := range 40 {
			clients.Go(func() {
				first := i * 7000
				r := ask(h, http.MethodGet, url, "Range", fmt.Sprintf("bytes=%d-%d", first, first+999))
				if r.Code != http.StatusPartialContent || !bytes.Equal(r.Body.Bytes(), archive[first:first+1000]) {
					t.Errorf("the part from %d on: %d, %d bytes", first, r.Code, r.Body.Len())
				}
			})
		}
		clients.Wait()
		if r := ask(h, http.MethodGet, url); r.Code != http.StatusOK || !bytes.Equal(r.Body.Bytes(), archive) {
			t.Errorf("the whole archive: %d, %d bytes", r.Code, r.Body.Len())
		}
		if n := src.opened.Load(); n != 1 {
			t.Errorf("the archive was fetched %d times", n)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("the temporary directory has %v, error %v", left, err)
	}
}

// A part of an archive that differs from its signed narinfo is never sent completely, wherever the difference is, and
// whether the archive can be kept or not.
func TestWrongUpstreamParts(t *testing.T) {
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 30_000))
	info := addSigned(t, mem, "object", archive, key)
	src := &slowStore{Store: mem, archive: func(b []byte) io.Reader {
		b[len(b)/2] ^= 1
		return bytes.NewReader(b)
	}}
	for _, opts := range []cacheserver.UpstreamOptions{{}, {Dir: t.TempDir()}, {Size: 10_000}} {
		opts.TrustedKeys = signature.NewKeySet(key.Public())
		u := newUpstream(t, src, &opts)
		srv := serve(t, nil, u)
		for _, url := range []string{archiveURLOf(t, newHandler(t, nil, u), info.Path), "/serve/" + info.Path.HashPart()} {
			for _, part := range []string{"0-9", "0-29999", "149000-160000", "270000-270009", "270000-"} {
				r, err := http.NewRequest(http.MethodGet, srv.URL+url, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Range", "bytes="+part)
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					continue // the server has closed the connection before it sent the header
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode < 300 && err == nil {
					t.Errorf("%v: %s: bytes %s: %d, %d bytes are complete", opts.Size, url, part, resp.StatusCode, len(b))
				}
			}
		}
	}
}

// Of an archive that is too large for a file no part is sent: each would cost the whole archive. The response does not promise
// parts.
func TestLargeUpstreamParts(t *testing.T) {
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	contents := strings.Repeat("0123456789", 10_000)
	archive := fileArchive(contents)
	info := addSigned(t, mem, "object", archive, key)
	for _, dir := range []string{"", t.TempDir()} {
		u := newUpstream(t, &slowStore{Store: mem}, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir, Size: 10_000})
		h := newHandler(t, nil, u)
		url := archiveURLOf(t, h, info.Path)
		for _, header := range [][]string{nil, {"Range", "bytes=50000-50009"}, {"Range", "bytes=0-"}} {
			r := ask(h, http.MethodGet, url, header...)
			if r.Code != http.StatusOK || r.Header().Get("Accept-Ranges") != "" || !bytes.Equal(r.Body.Bytes(), archive) {
				t.Errorf("%q: %d, %d bytes, Accept-Ranges %q", header, r.Code, r.Body.Len(), r.Header().Get("Accept-Ranges"))
			}
		}
		r := ask(h, http.MethodGet, "/serve/"+info.Path.HashPart(), "Range", "bytes=50000-50009")
		if r.Code != http.StatusPartialContent || r.Body.String() != contents[50_000:50_010] {
			t.Errorf("a part of a file: %d, %q", r.Code, r.Body)
		}
	}
}

// A part of an archive in a file of the store that an upstream cache names with a wrong offset does not crash the server.
func TestUpstreamOffsets(t *testing.T) {
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	info := addSigned(t, mem, "object", fileArchive("contents"), key)
	u := newUpstream(t, mem, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
	for _, offset := range []int64{-1, int64(info.NARSize) + 1, 1<<63 - 1} {
		if _, err := store.ReadNARFrom(t.Context(), u, info.Path, offset); err != nar.ErrOffset {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
}

// A system may delete a temporary directory that was not used for some days. The next parts are served from a new one.
func TestDeletedPartDirectory(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	u := newUpstream(t, mem, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
	h := newHandler(t, nil, u)
	for i := range 3 {
		archive := fileArchive(strings.Repeat(fmt.Sprint("contents", i), 20_000))
		url := archiveURLOf(t, h, addSigned(t, mem, fmt.Sprint("object", i), archive, key).Path)
		for range 2 {
			if r := ask(h, http.MethodGet, url, "Range", "bytes=100-199"); r.Code != http.StatusPartialContent || !bytes.Equal(r.Body.Bytes(), archive[100:200]) {
				t.Errorf("archive %d: %d, %q", i, r.Code, r.Body)
			}
			names, err := filepath.Glob(filepath.Join(temp, "*"))
			if err != nil || len(names) != 1 {
				t.Fatalf("the temporary directory has %q, error %v", names, err)
			}
			if err := os.RemoveAll(names[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
}

// Clients that request parts of an archive, and leave while its fetch stalls, hold neither files nor places afterwards. A later client
// gets its part when the fetch goes on.
func TestAbandonedParts(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	key, mem := newKey(t, "test-1"), memstore.New(nil)
	archive := fileArchive(strings.Repeat("0123456789", 30_000))
	info := addSigned(t, mem, "object", archive, key)
	release := make(chan struct{})
	src := &slowStore{Store: mem, archive: func(b []byte) io.Reader {
		return io.MultiReader(bytes.NewReader(b[:1000]), readerFunc(func([]byte) (int, error) {
			<-release
			return 0, io.EOF
		}), bytes.NewReader(b[1000:]))
	}}
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public())})
	srv := serve(t, &cacheserver.Options{MaxArchives: 100}, u)
	url := srv.URL + archiveURLOf(t, srv.Config.Handler, info.Path)
	get := func(ctx context.Context, part string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Range", part)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	for range 2 {
		ctx, leave := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 100 { // of the first ones, the server sends the beginning, and then waits
			clients.Go(func() {
				if b, err := get(ctx, fmt.Sprintf("bytes=%d-%d", i*2000+1, i*2000+1999)); err == nil {
					t.Errorf("part %d is complete: %d bytes", i, len(b))
				}
			})
		}
		for src.opened.Load() == 0 {
			runtime.Gosched()
		}
		leave()
		clients.Wait()
	}
	time.AfterFunc(50*time.Millisecond, func() { close(release) }) // probably while the last client waits
	if b, err := get(t.Context(), "bytes=5000-5999"); err != nil || !bytes.Equal(b, archive[5000:6000]) {
		t.Errorf("the last client: %d bytes, error %v", len(b), err)
	}
	if n := src.opened.Load(); n != 1 {
		t.Errorf("the archive was fetched %d times", n)
	}
	srv.Close() // waits for requests
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("the temporary directory has %v, error %v", left, err)
	}
}
