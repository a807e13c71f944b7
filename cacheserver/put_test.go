package cacheserver_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func TestPush(t *testing.T) {
	w := newPushWorld(t, nil)
	archive := fileArchive("contents")
	o := newPushed(t, "object", archive, nil, w.key)
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Fatalf("HEAD of an archive that was not uploaded: %d", r.Code)
	}
	o.putArchive(t, w.h, testToken)
	if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusOK || r.Result().ContentLength != int64(len(o.file)) {
		t.Errorf("HEAD of an uploaded archive: %d, length %d", r.Code, r.Result().ContentLength)
	}
	for _, other := range []string{"", "Bearer " + trustedToken} {
		if r := ask(w.h, http.MethodHead, "/"+o.n.URL, "Authorization", other); r.Code != http.StatusNotFound {
			t.Errorf("HEAD of an archive by another client (%q): %d", other, r.Code)
		}
	}
	if r := ask(w.h, http.MethodGet, "/"+o.n.URL, "Authorization", "Bearer "+testToken); r.Code != http.StatusNotFound {
		t.Errorf("GET of an archive without a narinfo: %d", r.Code)
	}
	if w.has(t, o.n.Path) {
		t.Error("the path is visible before its narinfo")
	}
	if status, text := o.putInfo(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("narinfo: %d, %s", status, text)
	}
	got := narInfoOf(t, w.h, o.n.Path)
	if got.NARHash != o.n.NARHash || len(got.Signatures) != 1 || got.Signatures[0] != o.n.Signatures[0] {
		t.Errorf("the server returns %+v", got)
	}
	r := ask(w.h, http.MethodGet, "/"+got.URL)
	if b, _ := io.ReadAll(r.Body); !bytes.Equal(b, archive) {
		t.Errorf("the server returns an archive of %d bytes", len(b))
	}
	for range 2 { // again, with and without an archive
		if status, text := o.putInfo(t, w.h, testToken); status != http.StatusOK {
			t.Errorf("narinfo again: %d, %s", status, text)
		}
		o.putArchive(t, w.h, testToken)
	}
}

// References must be there first, and a path may refer to itself.
func TestPushReferences(t *testing.T) {
	w := newPushWorld(t, nil)
	dep := newPushed(t, "dep", fileArchive("dep"), nil, w.key)
	top := newPushed(t, "top", fileArchive("top"), []storepath.Path{dep.n.Path}, w.key)
	if status, text := top.push(t, w.h, testToken); status != http.StatusUnprocessableEntity || !strings.Contains(text, string(dep.n.Path)) {
		t.Errorf("without its reference: %d, %s", status, text)
	}
	if w.has(t, top.n.Path) {
		t.Error("a path without its reference is visible")
	}
	if status, text := dep.push(t, w.h, testToken); status != http.StatusCreated {
		t.Errorf("the reference: %d, %s", status, text)
	}
	if status, text := top.putInfo(t, w.h, testToken); status != http.StatusCreated { // its archive is still there
		t.Errorf("with its reference: %d, %s", status, text)
	}
}

// The narinfo of a known path adds signatures of trusted keys, and no others.
func TestAddedSignatures(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil)
	if status, text := o.push(t, w.h, trustedToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	o.n.Sign(newKey(t, "stranger-1"), w.key)
	if status, text := o.putInfo(t, w.h, testToken); status != http.StatusOK {
		t.Fatalf("%d, %s", status, text)
	}
	if got := narInfoOf(t, w.h, o.n.Path).Signatures; len(got) != 1 || !strings.HasPrefix(got[0], "test-1:") {
		t.Errorf("the signatures are %q", got)
	}
}

// Listings and nix-cache-info are computed, and not believed.
func TestComputedFiles(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "object", fileArchive("contents"), nil, w.key)
	listing := "/" + o.n.Path.HashPart() + ".ls"
	forged := []byte(`{"version":1,"root":{"type":"regular","size":1000000,"narOffset":0}}`)
	if status, text := put(w.h, testToken, listing, forged); status != http.StatusOK { // Nix sends it before the archive
		t.Errorf("a listing: %d, %s", status, text)
	}
	if r := ask(w.h, http.MethodGet, listing); r.Code != http.StatusNotFound {
		t.Errorf("the listing of a path that does not exist: %d", r.Code)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	if r := ask(w.h, http.MethodGet, listing); r.Code != http.StatusOK || !strings.Contains(r.Body.String(), `"size":8`) {
		t.Errorf("the listing: %d, %s", r.Code, r.Body)
	}
	for text, want := range map[string]int{
		"StoreDir: /nix/store\n":                                200,
		"StoreDir: /nix/store\nWantMassQuery: 0\nPriority: 1\n": 200,
		"StoreDir: /gnu/store\n":                                409,
		"<html>":                                                409,
		"StoreDir: nix\n":                                       422,
		"StoreDir: /nix/store\n" + strings.Repeat("x: y\n", 300_000): 413,
	} {
		if status, reason := put(w.h, testToken, "/nix-cache-info", []byte(text)); status != want {
			t.Errorf("%.40q: %d, %s", text, status, reason)
		}
	}
	if r := ask(w.h, http.MethodGet, "/nix-cache-info"); !strings.Contains(r.Body.String(), "Priority: 30") {
		t.Errorf("nix-cache-info is %q", r.Body)
	}
}

// A content-addressed object needs no signature, but its contents must have the address.
func TestPushContentAddressed(t *testing.T) {
	w := newPushWorld(t, nil)
	src := memstore.New(nil)
	path := addText(t, src, "text", "contents")
	info, err := src.QueryPathInfo(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, contents := range []string{"other contents", "contents"} {
		want := map[string]int{"other contents": 422, "contents": 201}[contents]
		o := newPushed(t, "text", fileArchive(contents), nil)
		o.n.Path, o.n.CA = path, info.CA
		if status, text := o.push(t, w.h, testToken); status != want {
			t.Errorf("%s: %d, %s", contents, status, text)
		}
		if has := w.has(t, path); has != (want == 201) {
			t.Errorf("%s: visible is %t", contents, has)
		}
	}
}

func TestPushRealisations(t *testing.T) {
	w := newPushWorld(t, nil)
	o := newPushed(t, "output", fileArchive("output"), nil, w.key)
	hash := nixhash.Sum(nixhash.SHA256, []byte("derivation"))
	r := store.KeyedRealisation{ID: store.DrvOutput{Hash: hash, Output: "out"}, Realisation: store.Realisation{OutPath: o.n.Path}}
	target := "/realisations/" + r.ID.HashID() + ".doi"
	upload := func(token, target string) (int, string) {
		t.Helper()
		text, err := r.JSON(storepath.DefaultDir)
		if err != nil {
			t.Fatal(err)
		}
		return put(w.h, token, target, text)
	}
	fingerprint, err := signature.OldRealisationFingerprint(hash, "out", o.n.Path)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := upload(testToken, target); status != http.StatusForbidden {
		t.Errorf("unsigned: %d, %s", status, text)
	}
	r.Signatures = []string{newKey(t, "stranger-1").Sign(fingerprint).String()}
	if status, text := upload(testToken, target); status != http.StatusForbidden {
		t.Errorf("signed by another key: %d, %s", status, text)
	}
	r.Signatures = []string{w.key.Sign(fingerprint).String()}
	if status, text := upload(testToken, target); status != http.StatusUnprocessableEntity {
		t.Errorf("without the output: %d, %s", status, text)
	}
	if status, text := o.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	if status, text := upload(testToken, strings.Replace(target, "!out", "!dev", 1)); status != http.StatusUnprocessableEntity {
		t.Errorf("under another name: %d, %s", status, text)
	}
	if status, text := upload(testToken, target); status != http.StatusCreated {
		t.Errorf("signed: %d, %s", status, text)
	}
	if status, text := upload(testToken, target); status != http.StatusOK {
		t.Errorf("again: %d, %s", status, text)
	}
	if got := ask(w.h, http.MethodGet, target); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), o.n.Path.Base()) {
		t.Errorf("the server returns %d, %s", got.Code, got.Body)
	}
	other := newPushed(t, "other", fileArchive("other"), nil, w.key)
	if status, text := other.push(t, w.h, testToken); status != http.StatusCreated {
		t.Fatalf("%d, %s", status, text)
	}
	r.OutPath = other.n.Path
	if status, text := upload(trustedToken, target); status != http.StatusConflict {
		t.Errorf("another path: %d, %s", status, text)
	}
}
