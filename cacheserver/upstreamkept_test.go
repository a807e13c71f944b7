package cacheserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/cacheserver"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A remoteStore is a store that may be down. It counts queries.
type remoteStore struct {
	store.Store
	down    bool
	queries atomic.Int32
}

// Unwrap returns the store with all other capabilities.
func (s *remoteStore) Unwrap() store.Store { return s.Store }

func (s *remoteStore) check() error {
	s.queries.Add(1)
	if s.down {
		return errors.New("the connection was refused")
	}
	return nil
}

func (s *remoteStore) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.Store.QueryPathInfo(ctx, path)
}

func (s *remoteStore) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	return store.PathFromHashPart(ctx, s.Store, hashPart)
}

func (s *remoteStore) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return store.ReadNAR(ctx, s.Store, path)
}

// infoFiles returns the names of the infos in a directory of fetched archives.
func infoFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A keptWorld is an upstream cache with two paths, one of them fetched into a directory. The cache is down.
type keptWorld struct {
	src         *remoteStore
	dir         string
	key         signature.SecretKey
	kept, other *store.PathInfo
}

func newKeptWorld(t *testing.T) *keptWorld {
	t.Helper()
	w := &keptWorld{src: &remoteStore{Store: memstore.New(nil)}, dir: t.TempDir(), key: newKey(t, "test-1")}
	w.kept = addSigned(t, w.src.Store, "kept", fileArchive("kept"), w.key)
	w.other = addSigned(t, w.src.Store, "other", fileArchive("other"), w.key)
	h, u := w.serve(t, w.key.Public())
	defer u.Close()
	ask(h, http.MethodGet, archiveURLOf(t, h, w.kept.Path))
	w.src.down = true
	return w
}

// serve starts a server that trusts keys.
func (w *keptWorld) serve(t *testing.T, keys ...signature.PublicKey) (http.Handler, *cacheserver.Upstream) {
	t.Helper()
	u, err := cacheserver.NewUpstream(w.src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(keys...), Dir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	return newHandler(t, nil, u), u
}

// check starts a server, and checks the status of the kept path. The other path has not been fetched.
func (w *keptWorld) check(t *testing.T, what string, want int, keys ...signature.PublicKey) {
	t.Helper()
	h, u := w.serve(t, keys...)
	defer u.Close()
	r := ask(h, http.MethodGet, "/"+narinfo.FileName(w.kept.Path))
	if r.Code != want {
		t.Errorf("%s: the narinfo has status %d, want %d", what, r.Code, want)
	}
	if want != http.StatusOK {
		return
	}
	if r := ask(h, http.MethodGet, archiveURLOf(t, h, w.kept.Path)); r.Code != want || !bytes.Equal(r.Body.Bytes(), fileArchive("kept")) {
		t.Errorf("%s: the archive has status %d", what, r.Code)
	}
	if r := ask(h, http.MethodGet, "/"+narinfo.FileName(w.other.Path)); r.Code != http.StatusBadGateway {
		t.Errorf("%s: a path that was not fetched has status %d", what, r.Code)
	}
}

// Fetched paths are served after a restart although the upstream cache is down, if a trusted key has signed them.
func TestKeptInfos(t *testing.T) {
	w := newKeptWorld(t)
	w.check(t, "after a restart", http.StatusOK, w.key.Public())
	w.check(t, "without a trusted key", http.StatusBadGateway, newKey(t, "test-1").Public())
	for _, name := range fetchedNames(t, w.dir) {
		if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.check(t, "without the archive", http.StatusBadGateway, w.key.Public())
	if names := infoFiles(t, w.dir); len(names) != 0 {
		t.Errorf("infos without archives remain: %q", names)
	}
}

// A damaged or forged info is not served.
func TestDamagedInfos(t *testing.T) {
	w := newKeptWorld(t)
	names := infoFiles(t, w.dir)
	if len(names) != 1 {
		t.Fatalf("the infos are %q", names)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for what, damaged := range map[string]string{
		"an empty file": "", "other signed contents": strings.Replace(string(text), "-kept", "-evil", 1),
		"another size": strings.Replace(string(text), "NarSize: ", "NarSize: 1", 1),
	} {
		if err := os.WriteFile(names[0], []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		w.check(t, what, http.StatusBadGateway, w.key.Public())
	}
	if err := os.WriteFile(names[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	w.check(t, "with the right file again", http.StatusOK, w.key.Public())
}

// An info is deleted with its archive. Two paths with the same archive have one info.
func TestDeletedInfos(t *testing.T) {
	key, dir := newKey(t, "test-1"), t.TempDir()
	src := memstore.New(nil)
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir, Size: 10_000, Fetches: 1})
	h := newHandler(t, nil, u)
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		for _, contents := range []string{name, "the same"} {
			info := addSigned(t, src, name+contents[:1], fileArchive(contents+strings.Repeat("x", 3000)), key)
			if r := ask(h, http.MethodGet, archiveURLOf(t, h, info.Path)); r.Code != http.StatusOK {
				t.Errorf("%d", r.Code)
			}
		}
	}
	u.Close() // waits for the fetches
	infos, archives := infoFiles(t, dir), fetchedNames(t, dir)
	if len(infos) == 0 || len(infos) > len(archives) {
		t.Errorf("there are %d infos for %d archives", len(infos), len(archives))
	}
	for _, name := range infos {
		_, hash, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".narinfo"), "-")
		if _, err := os.Stat(filepath.Join(dir, hash+".nar")); err != nil {
			t.Errorf("the archive of an info: %v", err)
		}
	}
}

// The health of a server does not depend on an upstream cache, which is not asked.
func TestHealthWithoutUpstream(t *testing.T) {
	src := &remoteStore{Store: memstore.New(nil), down: true}
	h := newHandler(t, nil, memstore.New(nil), newUpstream(t, src, nil))
	for range 3 {
		if r := ask(h, http.MethodGet, "/health"); r.Code != http.StatusOK {
			t.Errorf("the status is %d", r.Code)
		}
	}
	if n := src.queries.Load(); n != 0 {
		t.Errorf("the upstream cache got %d queries", n)
	}
}

// An upstream cache that is down when the server starts is opened later, and not for each request. Kept paths need no store.
func TestOpenUpstream(t *testing.T) {
	key, dir := newKey(t, "test-1"), t.TempDir()
	src := memstore.New(nil)
	kept := addSigned(t, src, "kept", fileArchive("kept"), key)
	other := addSigned(t, src, "other", fileArchive("other"), key)
	opts := &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: dir}
	u := newUpstream(t, src, opts)
	h := newHandler(t, nil, u)
	ask(h, http.MethodGet, archiveURLOf(t, h, kept.Path))
	u.Close()
	synctest.Test(t, func(t *testing.T) {
		tries, down := 0, true
		u, err := cacheserver.OpenUpstream(src.Dir(), func(context.Context) (store.Store, error) {
			if tries++; down {
				return nil, errors.New("it is down")
			}
			return src, nil
		}, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		h := newHandler(t, &cacheserver.Options{StallTimeout: -1}, memstore.New(nil), u)
		check := func(path storepath.Path, want, wantTries int) {
			t.Helper()
			if r := ask(h, http.MethodGet, "/"+narinfo.FileName(path)); r.Code != want || tries != wantTries {
				t.Errorf("'%s': %d after %d attempts, want %d after %d", path, r.Code, tries, want, wantTries)
			}
		}
		check(kept.Path, http.StatusOK, 0)
		for range 3 {
			check(other.Path, http.StatusBadGateway, 1)
		}
		down = false
		check(other.Path, http.StatusBadGateway, 1)
		time.Sleep(time.Minute)
		for range 3 {
			check(other.Path, http.StatusOK, 2)
		}
	})
}

// A store with another store directory cannot become the upstream store.
func TestOpenUpstreamDir(t *testing.T) {
	u, err := cacheserver.OpenUpstream("/other/store", func(context.Context) (store.Store, error) { return memstore.New(nil), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := u.QueryPathFromHashPart(t.Context(), strings.Repeat("0", 32)); !errors.As(err, new(*cacheserver.UpstreamError)) {
		t.Errorf("got %v", err)
	}
}
