package main

import (
	"encoding/json"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// pix build-trace prints what nix realisation info prints, from the daemon, from the directory of its store and from a
// cache to which Nix has copied.
func TestRealBuildTrace(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		if s.Name != "sid" && s.Name != "trixie" {
			t.Skip("this version of Nix cannot print realisations")
		}
		d := realnix.Start(t, s, &realnix.Options{Config: map[string]string{"sandbox": "false", "experimental-features": features}})
		drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--expr", `derivation {
			name = "floating"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo out > $out; echo doc > $doc" ];
			outputs = [ "out" "doc" ]; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }`))
		d.MustRun(t, "nix-store", "--realise", drv)
		d.MustRun(t, "nix", "copy", "--to", "file:///tmp/cache", drv+"^*")
		pix := func(args ...string) string {
			t.Helper()
			cmd := exec.Command("pix", args...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(args, err, string(err.(*exec.ExitError).Stderr))
			}
			return string(out)
		}
		lines := strings.SplitAfter(d.MustRun(t, "nix", "realisation", "info", drv+"^*"), "\n")
		slices.Sort(lines) // versions of Nix have different orders
		want := strings.Join(lines, "")
		socket, cache := "unix://"+d.Socket, "file://"+d.HostPath("/tmp/cache")
		if got := pix("--store", socket, "build-trace", "info", drv+"^doc", drv+"^out"); got != want || strings.Count(got, "\n") != 2 {
			t.Errorf("pix prints %q, Nix %q", got, want)
		}
		id, _, _ := strings.Cut(want, " ")
		if got := pix("--store", cache, "build-trace", "info", id); !strings.HasPrefix(want, got) {
			t.Errorf("pix prints %q, Nix %q", got, want)
		}
		for _, uri := range []string{cache, strings.TrimSuffix(d.Dir, "/nix")} {
			if got := pix("--store", uri, "build-trace", "list"); got != want {
				t.Errorf("%s: pix lists %q, Nix has %q", uri, got, want)
			}
		}
		var gotJSON, wantJSON []map[string]any
		for text, value := range map[string]*[]map[string]any{
			d.MustRun(t, "nix", "realisation", "info", "--json", drv+"^*"):          &wantJSON,
			pix("--store", socket, "build-trace", "info", "--json", drv+"^*") + " ": &gotJSON,
		} {
			if err := json.Unmarshal([]byte(text), value); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(wantJSON, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
		if !reflect.DeepEqual(gotJSON, wantJSON) {
			t.Errorf("pix prints %v, Nix %v", gotJSON, wantJSON)
		}
	})
}
