package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/signature"
)

// pix and Nix fetch a closure from a binary cache over HTTP into a new store, and both check signatures: 300 paths, or 2,000
// with PIX_LONG=1. The times are only logged, because other tests run at the same time.
func TestRealFetchSpeed(t *testing.T) {
	n := 300
	if os.Getenv("PIX_LONG") == "1" {
		n = 2000
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := signature.GenerateKey("speed-1")
	must(err)
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"trusted-public-keys": key.Public().String()}})
	root := string(addLayers(t, d, n))
	must(os.WriteFile(d.HostPath("/tmp/key"), []byte(key.Reveal()), 0o644))
	conf := t.TempDir()
	must(os.WriteFile(filepath.Join(conf, "nix.conf"), []byte("trusted-public-keys = "+key.Public().String()+"\n"), 0o644))
	for _, method := range []string{"xz", "zstd"} {
		cache := "/tmp/cache-" + method
		d.MustRun(t, "nix", "copy", "--to", "file://"+cache+"?compression="+method+"&secret-key=/tmp/key", root)
		server := httptest.NewServer(http.FileServer(http.Dir(d.HostPath(cache))))
		t.Cleanup(server.Close)

		ours, theirs := "/tmp/ours-"+method, "/tmp/theirs-"+method
		start := time.Now()
		cmd := exec.Command("pix", "--store", d.HostPath(ours), "copy", "--from", server.URL, root)
		cmd.Env = append(os.Environ(), "NIX_CONF_DIR="+conf)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		pix := time.Since(start)
		start = time.Now()
		d.MustRun(t, "env", "NIX_REMOTE=", "nix", "copy", "--from", server.URL, "--to", theirs, root)
		nix := time.Since(start)
		t.Logf("%s, %d paths: pix %v, Nix %v, ratio %.2f", method, n, pix, nix, pix.Seconds()/nix.Seconds())
		if out := d.MustRun(t, "env", "NIX_REMOTE=", "nix-store", "--store", ours, "--verify", "--check-contents"); out != "" {
			t.Error(out)
		}
	}
}
