package cacheserver_test

import (
	"os"
	"strings"
	"testing"

	"pix/cacheserver"
	"pix/daemon"
	"pix/internal/realnix"
	"pix/signature"
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

// newStore is the environment of a client whose store is a new one, at the directory of a real daemon.
func newStore(dir string) []string {
	return []string{"env", "NIX_REMOTE=local", "NIX_STORE_DIR=/nix/store", "NIX_STATE_DIR=" + dir, "NIX_LOG_DIR=" + dir + "/log"}
}

// Every Nix copies a signed closure from the server, and verifies it.
func TestRealCopy(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		key, err := signature.GenerateKey("test-1")
		if err != nil {
			t.Fatal(err)
		}
		d, pool, top, _ := realStore(t, s, map[string]string{"trusted-public-keys": key.Public().String()})
		srv := serve(t, &cacheserver.Options{Keys: []signature.SecretKey{key}}, pool)
		d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", srv.URL, "--to", "/tmp/copy", string(top))
		if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/copy", "--verify", "--check-contents"); out != "" {
			t.Error(out)
		}
		if got, want := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", "/tmp/copy", "-qR", string(top)), d.MustRun(t, "nix-store", "-qR", string(top)); got != want {
			t.Errorf("the closure is %s, want %s", got, want)
		}
	})
}
