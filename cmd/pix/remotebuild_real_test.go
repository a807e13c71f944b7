package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"pix/daemontest"
	"pix/derivation"
	"pix/internal/latency"
	"pix/internal/realnix"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A stock Nix builds derivations with content-addressed outputs on a remote builder behind pix daemon --stdio. It registers
// the realisations in the replies, so these must have the ids that Nix computes, both for a builder that is Nix and for
// one whose ids pix computes.
func TestRemoteBuild(t *testing.T) {
	const features = "nix-command ca-derivations"
	builders := map[string]func(t *testing.T) (socket string){
		"nix": func(t *testing.T) string {
			return realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"experimental-features": features}}).Socket
		},
		"pix": func(t *testing.T) string { // identifies derivations by path, as Nix 2.35 does
			return daemontest.New(t, &daemontest.Options{Store: memstore.New(&memstore.Options{Build: buildFloating})}).Socket()
		},
	}
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if olderThan(s, "2.8") {
			t.Skip("Nix 2.3 has no content-addressed outputs")
		}
		for name, start := range builders {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				d := realnix.Start(t, s, &realnix.Options{Config: map[string]string{
					"experimental-features": features, "max-jobs": "0", "system": "x86_64-linux",
					"builders": "ssh-ng://localhost?remote-program=/tmp/pix%20daemon&remote-store=unix:///tmp/builder x86_64-linux - 1 1 ca-derivations",
				}})
				latency.Proxy(t, d.HostPath("/tmp/builder"), start(t), 0)
				installPix(t, d, "/tmp/pix")
				if err := os.WriteFile(d.HostPath("/tmp/floating.nix"), []byte(floatingNix), 0o644); err != nil {
					t.Fatal(err)
				}
				built := strings.Fields(d.MustRun(t, "nix-build", "--no-out-link", "/tmp/floating.nix", "-A", "top"))
				if contents := d.MustRun(t, "cat", built[0]); !strings.HasPrefix(contents, "top") {
					t.Errorf("built %q", contents)
				}
				// The local Nix has the realisations now, so it builds nothing.
				again := d.MustRun(t, "nix-build", "--no-out-link", "--option", "builders", "", "/tmp/floating.nix", "-A", "top")
				if strings.TrimSpace(again) != built[0] {
					t.Errorf("built %s, then %s", built[0], again)
				}
			})
		}
	})
}

const floatingNix = `
let make = text: derivation {
	name = "floating"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo \"$text\" > $out" ];
	inherit text; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
}; in rec { dep = make "dep"; top = make "top ${dep}"; }
`

// buildFloating builds derivations with a content-addressed output, which contains the variable
// text.
func buildFloating(ctx context.Context, s *memstore.Store, _ storepath.Path, d *derivation.Derivation) error {
	contents, _ := d.Env.Get("text")
	archive, _, err := fileArchive(contents + "\n")
	if err != nil {
		return err
	}
	output, _ := d.Outputs.Get("out")
	info, err := s.AddToStore(ctx, d.Name, output.Method(), output.Algorithm(), d.InputSources.Slice(), archive, nil)
	if err != nil {
		return err
	}
	hash, err := d.HashModulo(derivation.ForOutputs, func(storepath.Path) (h derivation.ModuloHash, ok bool) { return h, false }, nil)
	if err != nil {
		return err
	}
	return s.RegisterDrvOutput(ctx, store.KeyedRealisation{
		ID: store.DrvOutput{Hash: hash.Hash, Output: "out"}, Realisation: store.Realisation{OutPath: info.Path},
	})
}
