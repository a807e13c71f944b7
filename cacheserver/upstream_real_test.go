package cacheserver_test

import (
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"

	"pix/binarycache"
	"pix/cacheserver"
	"pix/internal/realnix"
	"pix/signature"
	"pix/store/memstore"
)

// pullThrough serves a cache at a URL through an upstream, after a new store. It returns its URL.
func pullThrough(t *testing.T, url string, key signature.SecretKey) string {
	t.Helper()
	src, err := binarycache.Open(t.Context(), url, &binarycache.Options{HTTP: binarycache.HTTPOptions{SameOrigin: true}})
	if err != nil {
		t.Fatal(err)
	}
	u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: t.TempDir()})
	return serve(t, nil, openLocal(t), u).URL
}

// Every Nix with content-addressed derivations finds their outputs through an upstream, if a trusted key has signed them.
func TestRealUpstreamContentAddressed(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, _, out := floatingStore(t, s, key)
		upstream := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, storeOf(t, d))
		build := func(dir, url string) error {
			_, _, err := d.Run("env", "NIX_REMOTE=", "nix", "build", "--store", dir, "--option", "substituters", url, "--max-jobs", "0", "--no-link", "--file", "/tmp/floating.nix")
			return err
		}
		if err := build("/tmp/fetched", pullThrough(t, upstream.URL, key)); err != nil {
			t.Fatal(err)
		}
		if got := d.MustRun(t, "env", "NIX_REMOTE=", "nix", "path-info", "--store", "/tmp/fetched", strings.TrimSpace(out)); got != out {
			t.Errorf("%q, want %q", got, out)
		}
		if build("/tmp/untrusted", pullThrough(t, upstream.URL, newKey(t, "other-1"))) == nil {
			t.Error("a realisation without a trusted signature was served")
		}
	})
}

// Every Nix resumes a download through an upstream, whose own downloads break, too.
func TestRealUpstreamResume(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d := realnix.Start(t, s, &realnix.Options{Config: realConfig(s, key)})
		mem := memstore.New(nil)
		contents := make([]byte, 1<<20)
		rand.NewChaCha8([32]byte{}).Read(contents)
		path := addSigned(t, mem, "large", fileArchive(string(contents)), key).Path
		upstream := &cutter{Handler: newHandler(t, nil, mem), cut: make(map[string]bool)}
		from := httptest.NewServer(upstream)
		defer from.Close()
		src, err := binarycache.Open(t.Context(), from.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: t.TempDir()})
		client := &cutter{Handler: newHandler(t, nil, u), cut: make(map[string]bool)}
		srv := httptest.NewServer(client)
		defer srv.Close()
		d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", srv.URL, "--to", "/tmp/copied", string(path))
		for name, c := range map[string]*cutter{"client": client, "upstream": upstream} {
			c.mu.Lock()
			if len(c.cut) != 1 || c.resumed != 1 {
				t.Errorf("%s: %d archives were cut, %d requests had a range", name, len(c.cut), c.resumed)
			}
			c.mu.Unlock()
		}
		if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/copied", "--verify", "--check-contents"); out != "" {
			t.Error(out)
		}
	})
}

// Every Nix gets what was fetched before from a server that is restarted while the upstream cache is down, with the same result as
// before.
func TestRealUpstreamKept(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, _, top, _ := realStore(t, s, realConfig(s, key))
		upstream := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, storeOf(t, d))
		kept := t.TempDir()
		start := func() (*binarycache.Store, func() string) {
			src, err := binarycache.Open(t.Context(), upstream.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			return src, func() string {
				u := newUpstream(t, src, &cacheserver.UpstreamOptions{TrustedKeys: signature.NewKeySet(key.Public()), Dir: kept})
				return serve(t, nil, u).URL
			}
		}
		realise := func(dir, url string) string {
			d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", dir, "--option", "substituters", url, "-r", string(top))
			if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", dir, "--verify", "--check-contents"); out != "" {
				t.Error(out)
			}
			return d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", dir, "--dump-db")
		}
		first, serveFirst := start()
		_, serveSecond := start()
		want := realise("/tmp/first", serveFirst())
		first.Close()
		upstream.Close()
		if got := realise("/tmp/second", serveSecond()); got != want {
			t.Errorf("the store has %s, want %s", got, want)
		}
	})
}
