package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// pix daemon obeys the settings of stock clients as Nix does: the trusted keys for uploads of a trusted client, and
// require-sigs for the realisations of caches.
func TestStockClientSettings(t *testing.T) {
	_, floating, cache := makeCacheWorld(t)
	// Content-addressed outputs need no signatures, but their realisations do. Remove those.
	realisations, err := filepath.Glob(filepath.Join(cache, "realisations", "*.doi"))
	if err != nil || len(realisations) == 0 {
		t.Fatal(realisations, err)
	}
	for _, realisation := range realisations {
		if out, err := exec.Command("sed", "-i", `s/"signatures":\[[^]]*\]/"signatures":[]/`, realisation).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	start := func(t *testing.T, config map[string]string) *realnix.Daemon {
		config["experimental-features"] = features
		d := startPix(t, config)
		if out, err := exec.Command("cp", "-a", cache, d.HostPath("/root/cache")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.WriteFile(d.HostPath("/tmp/cached.nix"), []byte(cachedNix), 0o666); err != nil {
			t.Fatal(err)
		}
		d.MustRun(t, "nix-instantiate", "/tmp/cached.nix", "-A", "floating")
		return d
	}
	drv, signed, key := floating.paths["floatingDrv"], floating.paths["doc"], floating.paths["public"]
	realise := "nix-store --realise " + drv + " --option max-jobs 0" // else the daemon builds what it cannot substitute
	copied := "nix copy --from file:///root/cache " + signed
	t.Run("trusted", func(t *testing.T) {
		d := start(t, map[string]string{"substituters": "file:///root/cache", "trusted-users": "root"})
		if out := d.MustRun(t, "sh", "-c", "nix-store --realise --dry-run "+drv+" 2>&1"); !strings.Contains(out, "will be fetched") {
			t.Errorf("QueryMissing without signatures:\n%s", out)
		}
		if out, err := d.Command(t.Context(), "sh", "-c", realise).CombinedOutput(); err == nil {
			t.Errorf("a realisation without a signature is accepted:\n%s", out)
		}
		d.MustRun(t, "sh", "-c", realise+" --option require-sigs false")
		if out, err := d.Command(t.Context(), "sh", "-c", copied).CombinedOutput(); err == nil {
			t.Errorf("a path signed by an untrusted key is accepted:\n%s", out)
		}
		d.MustRun(t, "sh", "-c", copied+" --trusted-public-keys '"+key+"'")
	})
	t.Run("untrusted", func(t *testing.T) {
		d := start(t, map[string]string{"substituters": "file:///root/cache", "trusted-users": ""})
		for _, command := range []string{realise + " --option require-sigs false", copied + " --trusted-public-keys '" + key + "'"} {
			if out, err := d.Command(t.Context(), "sh", "-c", command).CombinedOutput(); err == nil {
				t.Errorf("%s succeeds for an untrusted client:\n%s", command, out)
			}
		}
	})
	t.Run("daemon", func(t *testing.T) {
		d := start(t, map[string]string{"substituters": "file:///root/cache", "trusted-users": "", "require-sigs": "false"})
		d.MustRun(t, "sh", "-c", realise)
	})
}
