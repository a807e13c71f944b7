package cacheserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/nar"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// More is fetched than fits on the disk: min-free deletes old paths, and every client gets the right archive. A path that was
// deleted is served from the upstream cache again.
func TestAddFetchedToFullDisk(t *testing.T) {
	spool := t.TempDir() // on another disk
	testenv.OnSmallDisk(t, "24m", func(t *testing.T, dir string) {
		key, src := newKey(t, "test-1"), memstore.New(nil)
		local := newLocal(t, localstore.Options{Root: filepath.Join(dir, "store"), MinFree: 12 << 20, MaxFree: 16 << 20})
		opts, seen := adding()
		h := newHandler(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: spool}))
		var all []storepath.Path
		const count = 30
		for i := range count {
			contents := strings.Repeat(fmt.Sprint(i%10), 1<<20)
			info := addReferring(t, src, fmt.Sprint("object-", i), contents, nil, key)
			all = append(all, info.Path)
			if r := ask(h, http.MethodGet, archiveURLOf(t, h, info.Path)); r.Code != http.StatusOK || !bytes.Equal(r.Body.Bytes(), fileArchive(contents)) {
				t.Errorf("%d, %d bytes", r.Code, r.Body.Len())
			}
			if one := seen.next(t); one.Err != nil {
				t.Errorf("%+v", one)
			}
		}
		valid, err := store.AllValidPaths(t.Context(), local)
		if err != nil || len(valid) == 0 || len(valid) > 20 {
			t.Errorf("the store has %d paths of %d, %v", len(valid), count, err)
		}
		for i, path := range all {
			if r := ask(h, http.MethodGet, archiveURLOf(t, h, path)); r.Code != http.StatusOK || !bytes.Contains(r.Body.Bytes(), []byte(strings.Repeat(fmt.Sprint(i%10), 1<<20))) {
				t.Errorf("'%s': %d, %d bytes", path, r.Code, r.Body.Len())
			}
		}
	})
}

// If a collection deletes a path while a client receives it, the response is right, or broken, but never a complete wrong one.
func TestCollectionDuringResponse(t *testing.T) {
	key, src := newKey(t, "test-1"), memstore.New(nil)
	archive := treeArchive(t, 200, 64<<10)
	info := addArchive(t, src, "/nix/store/00000000000000000000000000000000-tree", archive)
	if err := info.Sign(key); err != nil {
		t.Fatal(err)
	}
	if err := store.AddSignatures(t.Context(), src, info.Path, info.Signatures); err != nil {
		t.Fatal(err)
	}
	local := newLocal(t, localstore.Options{})
	opts, seen := adding()
	srv := serve(t, opts, local, newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: t.TempDir()}))
	url := srv.URL + archiveURLOf(t, srv.Config.Handler, info.Path)
	for round := range 2 {
		if body, complete := download(t, url, ""); !complete || !bytes.Equal(body, archive) {
			t.Fatalf("round %d: %t, %d bytes", round, complete, len(body))
		}
		if one := seen.next(t); one.Err != nil {
			t.Fatal(one.Err)
		}
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		begin := make([]byte, 64<<10)
		if _, err := io.ReadFull(resp.Body, begin); err != nil {
			t.Fatal(err)
		}
		if _, err := local.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
		if valid, err := local.IsValidPath(t.Context(), info.Path); err != nil || valid {
			t.Fatalf("the path was not deleted: %v", err)
		}
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err == nil && !bytes.Equal(append(begin, rest...), archive):
			t.Error("a complete response is wrong")
		case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Error(err)
		}
		t.Logf("the response ended with %v after %d of %d bytes", err, len(begin)+len(rest), len(archive))
	}
}

// treeArchive returns the archive of a directory with a number of files.
func treeArchive(t *testing.T, files, size int) []byte {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := nar.Dump(t.Context(), &b, dir, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
