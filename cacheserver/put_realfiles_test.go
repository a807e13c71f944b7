package cacheserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/internal/realnix"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// Nix uploads build logs, with each Content-Encoding. Nix 2.3 does not upload logs.
func TestRealPushLog(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if !isNew(s) {
			t.Skip("this Nix has no 'nix store copy-log'")
		}
		key := newKey(t, "test-1")
		d, _, _, drv := realStore(t, s, realConfig(s, key))
		for _, coding := range []string{"", "br", "xz", "zstd"} {
			if url, _ := pushServer(t, key); coding == "" {
				if _, stderr, err := d.Run("nix", "store", "copy-log", "--to", url, string(drv)); err == nil || !strings.Contains(stderr, "403") {
					t.Errorf("a log of an untrusted uploader: %v, %s", err, stderr)
				}
			}
			dst := openLocal(t)
			srv := serve(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Trusted: true}}, Dir: t.TempDir()}}, dst)
			url := srv.URL
			d.MustRun(t, "nix", "store", "copy-log", "--to", url+"?log-compression="+coding, string(drv))
			d.MustRun(t, "nix", "store", "copy-log", "--to", url+"?log-compression="+coding, string(drv)) // again
			log, err := store.BuildLog(t.Context(), dst, drv)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(log); err != nil || string(b) != "built\n" {
				t.Errorf("%q: the log is %q, error %v", coding, b, err)
			}
			log.Close()
		}
	})
}

// Nix uploads the outputs of content-addressed derivations. Their realisations need a trusted signature or uploader.
func TestRealPushContentAddressed(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, _, built := floatingStore(t, s, key)
		out := parsePath(t, built)
		for _, unsigned := range []bool{false, true} {
			dst := openLocal(t)
			srv := serve(t, &cacheserver.Options{
				TrustedKeys: signature.NewKeySet(key.Public()),
				Uploads:     &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Token: testToken, Trusted: unsigned}}, Dir: t.TempDir()},
			}, dst)
			url := strings.Replace(srv.URL, "http://", "http://nix:"+testToken+"@", 1)
			_, stderr, err := d.Run("nix", "copy", "--to", url, "--file", "/tmp/floating.nix")
			if refused := strings.Contains(stderr, "403") && strings.Contains(stderr, "realisation"); (err == nil) != unsigned || !unsigned && !refused {
				t.Errorf("unsigned %t: %v, %s", unsigned, err, stderr)
			}
			all, err := dst.QueryAllRealisations(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if unsigned && (len(all) != 1 || all[0].OutPath != out) || !unsigned && len(all) != 0 {
				t.Errorf("unsigned %t: the realisations are %v", unsigned, all)
			}
			if valid, err := dst.IsValidPath(t.Context(), out); err != nil || !valid { // it is content-addressed
				t.Errorf("unsigned %t: the output is not valid, error %v", unsigned, err)
			}
		}
	})
}

// Every Nix copies through a server from an upstream cache, and gets what it gets from a directory.
func TestRealUpstream(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, pool, top, _ := realStore(t, s, realConfig(s, key))
		upstream := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, pool)
		src, err := binarycache.Open(t.Context(), upstream.URL, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: true}})
		if err != nil {
			t.Fatal(err)
		}
		keys := signature.NewKeySet(key.Public())
		u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: keys, Dir: t.TempDir()})
		srv := serve(t, &cacheserver.Options{Uploads: &cacheserver.UploadOptions{Uploaders: []cacheserver.Uploader{{Trusted: true}}, Dir: t.TempDir()}}, openLocal(t), u)
		d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", srv.URL, "--to", "/tmp/copied", string(top))
		if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/copied", "--verify", "--check-contents"); out != "" {
			t.Error(out)
		}
		closure := d.MustRun(t, "nix-store", "-qR", string(top))
		if got := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/copied", "-qR", string(top)); got != closure {
			t.Errorf("the closure is %s, want %s", got, closure)
		}
		upstream.Close() // a push does not ask it
		d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--to", srv.URL+"/upload", string(top))
		for _, line := range strings.Fields(closure) {
			path, err := storepath.DefaultDir.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := http.Get(srv.URL + "/upload/" + path.HashPart() + ".narinfo"); err != nil || r.StatusCode != http.StatusOK {
				t.Errorf("'%s' was not uploaded: %v, %v", path, r, err)
			}
		}
	})
}
