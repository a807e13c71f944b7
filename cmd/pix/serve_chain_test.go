package main

import (
	"path/filepath"
	"slices"
	"testing"

	"pix/binarycache"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A client of a cache that fetches from a cache that fetches from a third one gets what the third one has: paths,
// content-addressed outputs, their realisations under both IDs, listings and logs.
func TestServeChain(t *testing.T) {
	key, err := signature.GenerateKey("test-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NIX_CONFIG", "trusted-public-keys = "+key.Public().String())
	src := memstore.New(nil)
	drv, out := addFloating(t, src, "floating")
	text := addText(t, src, "contents", out)
	dir := filepath.Join(t.TempDir(), "cache")
	last, err := binarycache.Open(t.Context(), "file://"+dir, &binarycache.Options{Create: true, SecretKeys: []signature.SecretKey{key}, WriteListings: true})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	p, _, _ := newPusher(t, true)
	p.src, p.log = src, src.BuildLog
	if err := p.copy(t.Context(), last, []storepath.Path{drv, text, out}); err != nil {
		t.Fatal(err)
	}
	all, err := store.OutputRealisations(t.Context(), src, drv)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	r := signedRealisation(t, all[0], key)
	if err := last.RegisterDrvOutput(t.Context(), r); err != nil {
		t.Fatal(err)
	}

	url := "http://" + startServe(t, 1, "--listen", "127.0.0.1:0", "--store", "file://"+dir).addresses[0]
	for range 2 {
		url = "http://" + startServe(t, 1, "--listen", "127.0.0.1:0", "--store", "file://"+emptyCache(t), "--upstream", url, "--upstream-dir", t.TempDir()).addresses[0]
	}
	first, err := binarycache.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	back := memstore.New(nil)
	if copied, err := store.Copy(t.Context(), back, first, []storepath.Path{drv, text}, &store.CopyOptions{AddOptions: store.AddOptions{NoSignatures: true}}); err != nil || len(copied) != 3 {
		t.Fatalf("%d paths were copied: %v", len(copied), err)
	}
	for _, path := range []storepath.Path{drv, text, out} {
		want, err := last.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := first.QueryPathInfo(t.Context(), path)
		if err != nil || got.NARHash != want.NARHash || got.CA != want.CA || got.Deriver != want.Deriver || !slices.Equal(got.Signatures, want.Signatures) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		if _, err := first.Listing(t.Context(), path); err != nil {
			t.Errorf("the listing of '%s': %v", path, err)
		}
	}
	for _, id := range []store.DrvOutput{{Hash: r.ID.Hash, Output: "out"}, {Path: drv, Output: "out"}} {
		if got, err := first.QueryRealisation(t.Context(), id); err != nil || got.OutPath != out || len(got.Signatures) == 0 {
			t.Errorf("the realisation of %s: %v, %v", id.ID(), got, err)
		}
	}
	checkFloating(t, first, drv, out, true)
}

// signedRealisation returns a realisation with signatures for the old and the new form.
func signedRealisation(t *testing.T, r store.KeyedRealisation, key signature.SecretKey) store.KeyedRealisation {
	t.Helper()
	old, err := signature.OldRealisationFingerprint(r.ID.Hash, r.ID.Output, r.OutPath)
	if err != nil {
		t.Fatal(err)
	}
	current, err := signature.RealisationFingerprint(r.ID.Path, r.ID.Output, r.OutPath)
	if err != nil {
		t.Fatal(err)
	}
	r.Signatures = []string{key.Sign(old).String(), key.Sign(current).String()}
	return r
}

// emptyCache returns a directory with a cache that has no paths.
func emptyCache(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "empty")
	s, err := binarycache.Open(t.Context(), "file://"+dir, &binarycache.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AddTextToStore(t.Context(), "other", "other", nil); err != nil {
		t.Fatal(err)
	}
	return dir
}
