package cacheserver_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// openLocal opens a new store in a directory.
func openLocal(t *testing.T) *localstore.Store {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// compareClosures fails unless a store has the closure of a path with the same infos as another one, and with good contents.
func compareClosures(t *testing.T, got, want store.Store, path storepath.Path) {
	t.Helper()
	for w, err := range store.Closure(t.Context(), want, path) {
		if err != nil {
			t.Fatal(err)
		}
		g, err := got.QueryPathInfo(t.Context(), w.Path)
		if err != nil {
			t.Error(err)
			continue
		}
		if g.NARHash != w.NARHash || g.NARSize != w.NARSize || g.Deriver != w.Deriver || g.CA != w.CA || g.Ultimate ||
			!slices.Equal(g.References, w.References) || !slices.Equal(g.Signatures, w.Signatures) {
			t.Errorf("'%s' has the info %+v, want %+v", w.Path, g, w)
		}
	}
	if remain, err := store.Verify(t.Context(), got, true, false); err != nil || remain {
		t.Errorf("errors remain: %t, %v", remain, err)
	}
}

// pushServer serves a new store that accepts uploads signed by a key. The URL has the token.
func pushServer(t *testing.T, key signature.SecretKey) (url string, dst *localstore.Store) {
	t.Helper()
	dst = openLocal(t)
	srv := serve(t, &cacheserver.Options{
		TrustedKeys: signature.NewKeySet(key.Public()),
		Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken}}, Dir: t.TempDir()},
	}, dst)
	return strings.Replace(srv.URL, "http://", "http://nix:"+testToken+"@", 1), dst
}

// Every Nix uploads a closure in all forms that it knows, with the same result as into a directory. A path without a
// trusted signature is refused.
func TestRealPush(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, _, top, _ := realStore(t, s, nil)
		if err := os.WriteFile(d.HostPath("/tmp/secret-key"), []byte(key.Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		copyTo := func(to string) (string, error) {
			_, stderr, err := d.Run("env", "NIX_REMOTE=", "nix", "copy", "--to", to, string(top))
			return stderr, err
		}
		const signed = "&secret-key=/tmp/secret-key"
		if out, err := copyTo("file:///tmp/cache?compression=none" + signed); err != nil {
			t.Fatal(out, err)
		}
		want, err := binarycache.Open(t.Context(), "file://"+d.HostPath("/tmp/cache"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		for _, parameters := range []string{
			"compression=none&write-nar-listing=true",
			"compression=xz&parallel-compression=true&narinfo-compression=br&ls-compression=xz&write-nar-listing=true",
			"compression=bzip2&narinfo-compression=gzip",
			"compression=zstd&narinfo-compression=zstd",
			"compression=br",
			"compression=gzip",
		} {
			if s.Name == "bullseye" && (strings.Contains(parameters, "zstd") || strings.HasPrefix(parameters, "compression=gzip")) {
				continue
			}
			t.Run(parameters, func(t *testing.T) {
				url, dst := pushServer(t, key)
				if out, err := copyTo(url + "?" + parameters + signed); err != nil {
					t.Fatal(out, err)
				}
				compareClosures(t, dst, want, top)
			})
		}
		url, dst := pushServer(t, key)
		if out, err := copyTo(url + "?compression=none"); err == nil {
			t.Errorf("an unsigned path was accepted: %s", out)
		}
		if valid, err := dst.QueryAllValidPaths(t.Context()); err != nil || slices.Contains(valid, top) {
			t.Errorf("after a refused upload: %v, %v", valid, err)
		}
	})
}
