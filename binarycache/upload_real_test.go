package binarycache_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// The same copy by Nix and by pix sends the same files, with the same headers. Uncompressed files have the same bytes,
// except the listings of old versions of Nix, which have the members in another order.
func TestUploadsLikeNix(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d, pool := realPool(t, s, nil)
		top, drv := buildTop(t, d)
		write(t, d.HostPath("/tmp/key"), newKey(t).Reveal())
		for name, params := range map[string]string{
			"plain":      "compression=none&write-nar-listing=true&secret-key=",
			"compressed": "compression=xz&narinfo-compression=br&log-compression=gzip&write-nar-listing=true&ls-compression=gzip&secret-key=",
		} {
			if name == "compressed" && s.Name != "sid" {
				continue // Nix 2.26 and older versions do not set Content-Encoding
			}
			byNix, byPix := newRecorder(), newRecorder()
			copyWithNix(t, d, "--to", listenTCP(t, byNix)+"?"+params+"/tmp/key", top, drv)
			c := open(t, listenTCP(t, byPix)+"?"+params+d.HostPath("/tmp/key"), &binarycache.Options{Create: true})
			if _, err := store.Copy(t.Context(), c, pool, []storepath.Path{top, drv}, nil); err != nil {
				t.Fatal(err)
			}
			compareUploads(t, byPix.uploads(), byNix.uploads(), name == "plain" && isNew(s))
			checkNixReads(t, d, listenTCP(t, byPix), top)
		}
	})
}

// listenTCP serves a recorder on the loopback device.
func listenTCP(t *testing.T, c *recorder) string {
	t.Helper()
	server := httptest.NewServer(http.Handler(c))
	t.Cleanup(server.Close)
	return server.URL
}

// compareUploads compares uploads by their names, or with plain also by their bodies.
func compareUploads(t *testing.T, got, want map[string]upload, plain bool) {
	t.Helper()
	if !plain { // then the names of archives are hashes of compressed bytes
		got, want = withoutBodies(got), withoutBodies(want)
	}
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
		t.Errorf("pix sent %q\nNix sent %q", a, b)
	}
	for name, file := range got {
		if file != want[name] {
			t.Errorf("%s: pix sent %+v\nNix sent %+v", name, file, want[name])
		}
	}
}

func withoutBodies(files map[string]upload) map[string]upload {
	some := make(map[string]upload)
	for name, file := range files {
		if strings.HasPrefix(name, "nar/") {
			name = "nar/"
		}
		file.body, file.size, file.expect = "", "", "" // old versions of curl expect 100-continue for each file
		some[name] = file
	}
	return some
}

// checkNixReads checks that Nix finds a path and its closure in a cache.
func checkNixReads(t *testing.T, d *realnix.Daemon, uri string, path storepath.Path) {
	t.Helper()
	args := []string{"nix", "path-info", "--recursive", "--store", uri, string(path)}
	if out := d.MustRun(t, args...); !strings.Contains(out, string(path)) {
		t.Errorf("Nix found %q", out)
	}
}
