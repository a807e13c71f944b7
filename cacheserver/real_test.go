package cacheserver_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"pix/cacheserver"
	"pix/daemon"
	"pix/internal/realnix"
	"pix/localstore"
	"pix/signature"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// expression is a derivation with an input, whose output refers to the input and to itself.
const expression = `
let
  derive = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/bin:/usr/bin";
  };
  base = derive "base" "mkdir -p $out/bin; i=0; while [ $i -lt 3000 ]; do echo $i lorem ipsum; i=$((i+1)); done > $out/bin/text; ln -s bin/text $out/link";
in derive "top" "echo built; echo ${base} $out > $out"
`

// realStore starts a daemon, connects to it, and builds the expression.
func realStore(t *testing.T, s realnix.Suite, config map[string]string) (d *realnix.Daemon, pool *daemon.Pool, top, drv storepath.Path) {
	t.Helper()
	d = realnix.Start(t, s, &realnix.Options{Config: config})
	pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	if err := os.WriteFile(d.HostPath("/tmp/top.nix"), []byte(expression), 0o644); err != nil {
		t.Fatal(err)
	}
	return d, pool, parsePath(t, d.MustRun(t, "nix-build", "--no-out-link", "/tmp/top.nix")), parsePath(t, d.MustRun(t, "nix-instantiate", "/tmp/top.nix"))
}

func parsePath(t *testing.T, output string) storepath.Path {
	t.Helper()
	p, err := storepath.DefaultDir.Parse(strings.TrimSpace(output))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// floating is a content-addressed derivation.
const floating = `derivation {
  name = "floating";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo said; echo made > $out" ];
  __contentAddressed = true;
  outputHashMode = "recursive";
  outputHashAlgo = "sha256";
}`

// storeOf opens the store of a daemon in its directory, for its logs.
func storeOf(t *testing.T, d *realnix.Daemon) *localstore.Store {
	t.Helper()
	s, err := localstore.Open(t.Context(), &localstore.Options{
		StoreDir: d.Dir + "/store", StateDir: d.Dir + "/var/nix", LogDir: d.Dir + "/var/log/nix", ReadOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// isOld reports whether a Nix is older than 2.4.
func isOld(s realnix.Suite) bool { return strings.HasPrefix(s.Version, "2.3.") }

// isNew reports whether a Nix is from 2.26 on.
func isNew(s realnix.Suite) bool { return s.Name == "trixie" || s.Name == "sid" }

// realConfig returns the settings of a daemon that trusts a key.
func realConfig(s realnix.Suite, key signature.SecretKey) map[string]string {
	config := map[string]string{"trusted-public-keys": key.Public().String()}
	if !isOld(s) {
		config["experimental-features"] = "nix-command ca-derivations"
	}
	return config
}

// Every Nix copies a signed closure from the server, with and without compression, by each of its ways, and verifies it.
func TestRealCopy(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, pool, top, _ := realStore(t, s, realConfig(s, key))
		closure := d.MustRun(t, "nix-store", "-qR", string(top))
		all := map[string]*cacheserver.Options{"plain": {}, "transit": {Compress: true}}
		if !isOld(s) {
			all["zstd"] = &cacheserver.Options{Compress: true, CompressedDir: t.TempDir()}
		}
		for name, opts := range all {
			opts.Keys = []signature.SecretKey{key}
			for kind, from := range map[string]store.Store{"daemon": pool, "local": storeOf(t, d)} {
				srv := serve(t, opts, from)
				copied, realised := "/tmp/copied-"+name+kind, "/tmp/realised-"+name+kind
				d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", srv.URL, "--to", copied, string(top))
				d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", realised, "--option", "substituters", srv.URL, "-r", string(top))
				for _, dir := range []string{copied, realised} {
					if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", dir, "--verify", "--check-contents"); out != "" {
						t.Error(out)
					}
					if got := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", dir, "-qR", string(top)); got != closure {
						t.Errorf("%s: the closure is %s, want %s", dir, got, closure)
					}
				}
			}
		}
	})
}

// floatingStore returns a daemon with an output of the content-addressed derivation /tmp/floating.nix, and what nix-build prints
// about it. It skips the test if that Nix has no such derivations.
func floatingStore(t *testing.T, s realnix.Suite, key signature.SecretKey) (*realnix.Daemon, *daemon.Pool, string) {
	t.Helper()
	if isOld(s) {
		t.Skip("this Nix has no content-addressed derivations")
	}
	d, pool, _, _ := realStore(t, s, realConfig(s, key))
	if err := os.WriteFile(d.HostPath("/tmp/floating.nix"), []byte(floating), 0o644); err != nil {
		t.Fatal(err)
	}
	return d, pool, d.MustRun(t, "nix-build", "--no-out-link", "/tmp/floating.nix")
}

// Every Nix with content-addressed derivations finds their outputs.
func TestRealContentAddressed(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, pool, out := floatingStore(t, s, key)
		for kind, from := range map[string]store.Store{"daemon": pool, "local": storeOf(t, d)} {
			srv := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, from)
			dir := "/tmp/fetched-" + kind
			d.MustRun(t, "env", "NIX_REMOTE=", "nix", "build", "--store", dir, "--option", "substituters", srv.URL, "--max-jobs", "0", "--no-link", "--file", "/tmp/floating.nix")
			if got := d.MustRun(t, "env", "NIX_REMOTE=", "nix", "path-info", "--store", dir, strings.TrimSpace(out)); got != out {
				t.Errorf("%s: %q, want %q", kind, got, out)
			}
		}
	})
}

// A private cache serves clients whose netrc file has the token, and tells the others nothing.
func TestRealToken(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d, pool, top, _ := realStore(t, s, realConfig(s, key))
		srv := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}, ReadTokens: []string{"0123456789abcdef"}}, pool)
		args := []string{"env", "NIX_REMOTE=", "nix", "copy", "--from", srv.URL, "--to", "/tmp/copied", string(top)}
		if _, _, err := d.Run(args...); err == nil {
			t.Error("Nix copies without the token")
		}
		if err := os.WriteFile(d.HostPath("/tmp/netrc"), []byte("machine 127.0.0.1 login x password 0123456789abcdef\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		d.MustRun(t, append(args, "--option", "netrc-file", "/tmp/netrc")...)
	})
}

// A cutter breaks the first response with each archive after some bytes.
type cutter struct {
	http.Handler
	mu      sync.Mutex
	resumed int // number of requests with a range
	cut     map[string]bool
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/nar/") {
		c.Handler.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	first := !c.cut[r.URL.Path]
	c.cut[r.URL.Path] = true
	if r.Header.Get("Range") != "" {
		c.resumed++
	}
	c.mu.Unlock()
	if first {
		w = &cutWriter{w, 100_000}
	}
	c.Handler.ServeHTTP(w, r)
}

// A cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

// Every Nix resumes a broken download, of a compressed archive, too.
func TestRealResume(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key := newKey(t, "test-1")
		d := realnix.Start(t, s, &realnix.Options{Config: realConfig(s, key)})
		from := memstore.New(nil)
		path, _ := addRandom(t, from, 1)
		all := map[string]*cacheserver.Options{"plain": {}}
		if !isOld(s) {
			all["zstd"] = &cacheserver.Options{Compress: true, CompressedDir: t.TempDir()}
		}
		for name, opts := range all {
			c := &cutter{Handler: newHandler(t, opts, from), cut: make(map[string]bool)}
			srv := httptest.NewServer(c)
			defer srv.Close()
			d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--no-check-sigs", "--from", srv.URL, "--to", "/tmp/"+name, string(path))
			c.mu.Lock()
			if len(c.cut) != 1 || c.resumed != 1 {
				t.Errorf("%s: %d archives were cut, %d requests had a range", name, len(c.cut), c.resumed)
			}
			c.mu.Unlock()
			if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/"+name, "--verify", "--check-contents"); out != "" {
				t.Error(out)
			}
		}
	})
}
