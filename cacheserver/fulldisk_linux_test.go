package cacheserver_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pix/cacheserver"
	"pix/internal/testenv"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
)

// usedSpace returns the number of bytes on a disk that files use.
func usedSpace(t *testing.T, dir string) uint64 {
	t.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		t.Fatal(err)
	}
	return (stat.Blocks - stat.Bfree) * uint64(stat.Bsize)
}

// If the directory of compressed archives is full, an archive is compressed for each client, and no file remains.
func TestFullCompressedDir(t *testing.T) {
	testenv.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		s := memstore.New(nil)
		path, archive := addRandom(t, s, 1) // larger than the disk
		h := newHandler(t, &cacheserver.Options{Compress: true, CompressedDir: dir}, s)
		url := archiveURLOf(t, h, path)
		before := usedSpace(t, dir)
		for _, header := range [][]string{nil, {"Range", "bytes=0-9"}, nil} {
			r := ask(h, http.MethodGet, url, header...)
			if r.Code != http.StatusOK || !bytes.Equal(decompress(t, r.Body.Bytes()), archive) {
				t.Errorf("%q: %d, %d bytes", header, r.Code, r.Body.Len())
			}
			if r.Header().Get("Accept-Ranges") != "" {
				t.Errorf("a response without a file promises ranges")
			}
		}
		if after := usedSpace(t, dir); after != before || len(files(t, dir)) != 0 {
			t.Errorf("%d bytes of the disk are used, and were %d before; the files are %q", after, before, files(t, dir))
		}
	})
}

// The directory of compressed archives may fill its disk: old files are deleted before the disk space of a new one is reserved.
func TestCompressedDirFillsDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "3m", func(t *testing.T, dir string) {
		s := memstore.New(nil)
		h := newHandler(t, &cacheserver.Options{Compress: true, CompressedDir: dir, CompressedSize: 2_700_000, MaxEncoders: 1}, s)
		for i := range 5 { // the disk has space for two
			path, archive := addRandom(t, s, i)
			url := archiveURLOf(t, h, path)
			if r := ask(h, http.MethodGet, url); r.Code != http.StatusOK || !bytes.Equal(decompress(t, r.Body.Bytes()), archive) {
				t.Errorf("archive %d: %d, %d bytes", i, r.Code, r.Body.Len())
			}
			if r := ask(h, http.MethodGet, url, "Range", "bytes=0-9"); r.Code != http.StatusPartialContent {
				t.Errorf("archive %d is not kept: a range has the status %d", i, r.Code)
			}
		}
	})
}

// A compressed archive uses no more disk space than its file, although more was reserved.
func TestReservedSpaceIsFreed(t *testing.T) {
	testenv.OnSmallDisk(t, "2m", func(t *testing.T, dir string) {
		s := memstore.New(nil)
		const path = "/nix/store/00000000000000000000000000000000-zeros"
		addArchive(t, s, path, fileArchive(strings.Repeat("0", 1<<20)))
		h := newHandler(t, &cacheserver.Options{Compress: true, CompressedDir: filepath.Join(dir, "c")}, s)
		ask(h, http.MethodGet, archiveURLOf(t, h, path))
		if used := usedSpace(t, dir); used > 100_000 {
			t.Errorf("%d bytes of the disk are used", used)
		}
	})
}

// If the directory of fetched archives is full, an archive is sent to each client, and not kept.
func TestFullUpstreamDir(t *testing.T) {
	testenv.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		key := newKey(t, "test-1")
		src := memstore.New(nil)
		contents := strings.Repeat("0123456789", 200_000)
		large := addSigned(t, src, "large", fileArchive(contents), key)
		small := addSigned(t, src, "small", fileArchive("small"), key)
		u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir})
		h := newHandler(t, nil, u)
		url := archiveURLOf(t, h, large.Path)
		for range 2 {
			if r := ask(h, http.MethodGet, url); r.Code != http.StatusOK || !bytes.Equal(r.Body.Bytes(), fileArchive(contents)) {
				t.Errorf("%d, %d bytes", r.Code, r.Body.Len())
			}
		}
		if r := ask(h, http.MethodGet, url, "Range", "bytes=1000-1999"); r.Code != http.StatusOK || r.Header().Get("Accept-Ranges") != "" || !bytes.Equal(r.Body.Bytes(), fileArchive(contents)) {
			t.Errorf("a range: %d, %d bytes", r.Code, r.Body.Len())
		}
		if used := usedSpace(t, dir); used != 0 || len(fetchedNames(t, dir)) != 0 {
			t.Errorf("%d bytes of the disk are used by %q", used, fetchedNames(t, dir))
		}
		if r := ask(h, http.MethodGet, archiveURLOf(t, h, small.Path)); r.Code != http.StatusOK {
			t.Errorf("a small archive: %d", r.Code)
		}
		if names := fetchedNames(t, dir); len(names) != 1 {
			t.Errorf("the small archive is not kept: %q", names)
		}
	})
}

// An upload for which the disk has no space is refused with 507, and leaves nothing.
func TestFullSpool(t *testing.T) {
	testenv.OnSmallDisk(t, "1m", func(t *testing.T, dir string) {
		key := newKey(t, "test-1")
		h := newHandler(t, &cacheserver.Options{
			TrustedKeys: signature.NewKeySet(key.Public()),
			Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: dir},
		}, memstore.New(nil))
		large := fileArchive(strings.Repeat("0123456789", 200_000))
		url := "/nar/" + nixhash.Sum(nixhash.SHA256, large).Nix32() + ".nar"
		before := usedSpace(t, dir)
		if status, text := put(h, testToken, url, large); status != http.StatusInsufficientStorage || strings.Contains(text, dir) {
			t.Errorf("an upload larger than the disk: %d, %s", status, text)
		}
		if after := usedSpace(t, dir); after != before {
			t.Errorf("%d bytes of the disk are used, and were %d before", after, before)
		}
		small := newPushed(t, "small", fileArchive("small"), nil, key)
		if status, text := small.push(t, h, testToken); status != http.StatusCreated {
			t.Errorf("a small upload: %d, %s", status, text)
		}
	})
}

// A fullStore is a store on a full disk.
type fullStore struct{ store.Store }

// Unwrap returns the store with all other capabilities.
func (s *fullStore) Unwrap() store.Store { return s.Store }

func (s *fullStore) Session(context.Context) (store.Store, error) { return s, nil }

func (s *fullStore) AddToStoreNAR(context.Context, *store.PathInfo, io.Reader, *store.AddOptions) error {
	return &os.PathError{Op: "write", Path: "/secret/place", Err: syscall.ENOSPC}
}

// If the disk of the store is full, an upload is refused with 507.
func TestUploadToFullStore(t *testing.T) {
	key := newKey(t, "test-1")
	h := newHandler(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(key.Public()),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, &fullStore{memstore.New(nil)})
	status, text := newPushed(t, "x", fileArchive("x"), nil, key).push(t, h, testToken)
	if status != http.StatusInsufficientStorage || strings.Contains(text, "secret") {
		t.Errorf("%d, %s", status, text)
	}
}
