package binarycache_test

import (
	"strings"
	"testing"

	"pix/binarycache"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// The embedded store copies from a cache that Nix wrote, and Nix finds no errors in that store. Nix copies
// from a cache that the embedded store wrote.
func TestEmbeddedStore(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t)
		d, pool := realPool(t, s, map[string]string{"trusted-public-keys": key.Public().String()})
		top, drv := buildTop(t, d)
		write(t, d.HostPath("/tmp/key"), key.Reveal())
		methods := []string{"none", "xz", "bzip2", "br"}
		if !isOld(s) {
			methods = append(methods, "zstd")
		}
		for _, method := range methods {
			t.Run(method, func(t *testing.T) {
				theirs, root, ours := "/tmp/theirs-"+method, "/tmp/store-"+method, "/tmp/ours-"+method
				copyWithNix(t, d, "--to", "file://"+theirs+"?compression="+method+"&secret-key=/tmp/key", top, drv)
				roots := []storepath.Path{top, drv}
				embedded := fill(t, d.HostPath(root), key.Public(), roots,
					"file://"+d.HostPath(theirs), serve(t, d.HostPath(theirs)))
				out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", root, "--verify", "--check-contents")
				if out != "" {
					t.Error(out)
				}
				if method == "bzip2" {
					return // this Nix does not support the method
				}
				back := open(t, "file://"+d.HostPath(ours), &binarycache.Options{Compression: method})
				if _, err := store.Copy(t.Context(), back, embedded, roots, nil); err != nil {
					t.Fatal(err)
				}
				for i, uri := range []string{"file://" + ours, serve(t, d.HostPath(ours))} {
					fresh := root + "-nix-" + string('0'+rune(i))
					d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", uri, "--to", fresh, string(top))
					d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", fresh, "--verify", "--check-contents")
				}
				for _, path := range []storepath.Path{top, baseOf(t, pool, top)} {
					if archiveOf(t, embedded, path) != archiveOf(t, pool, path) {
						t.Errorf("the archives of %s differ", path)
					}
				}
			})
		}
	})
}

// fill copies the first cache to an embedded store in dir, and the other caches to stores beside it. It
// returns the first store.
func fill(t *testing.T, dir string, key signature.PublicKey, roots []storepath.Path, uris ...string) (filled store.Store) {
	t.Helper()
	for i, uri := range uris {
		s, err := localstore.Open(t.Context(), &localstore.Options{Root: dir + strings.Repeat("-again", i), TrustedKeys: signature.NewKeySet(key)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if copied, err := store.Copy(t.Context(), s, open(t, uri, nil), roots, nil); err != nil || len(copied) < 4 {
			t.Fatal(uri, len(copied), err)
		}
		if i == 0 {
			filled = s
		}
	}
	return filled
}
