package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/internal/realnix"
)

// jsonBuilds are derivations with all kinds of events: phases, lines that are not UTF-8, colours, failures.
const jsonBuilds = `
let make = attrs: derivation ({ system = builtins.currentSystem; builder = "/usr/bin/bash"; PATH = "/usr/bin"; } // attrs);
 lib = make { name = "lib"; args = ["-c" ''trap : EXIT; echo '@nix {"action":"setPhase","phase":"unpack"}'
  printf 'caf\303\251 \377 \342\202 \001 \033[31mred\033[0m \t " \\ / \177 \342\200\250\n\n'; echo '@nix {"action":"msg","level":0,"msg":"hello"}'; echo hi > $out'']; };
 app = make { name = "app"; inherit lib; args = ["-c" ''trap : EXIT; echo $lib; echo hi > $out'']; };
 bad = make { name = "bad"; inherit lib; args = ["-c" ''trap : EXIT; echo failing; exit 3'']; };
 bad2 = make { name = "bad2"; args = ["-c" ''trap : EXIT; exit 4'']; };
 dep = make { name = "dep"; inherit bad app; args = ["-c" ''trap : EXIT; echo hi > $out'']; };
in [ app bad dep bad2 ]`

// pix build prints the same events as nix build, from the daemons of Nix and of pix.
func TestRealLogFormat(t *testing.T) {
	sid := realnix.Get(t, "sid")
	config := map[string]string{"sandbox": "true", "sandbox-paths": "/usr /lib /lib64"}
	for name, start := range map[string]func() *realnix.Daemon{
		"nix": func() *realnix.Daemon { return realnix.Start(t, sid, &realnix.Options{Config: config}) },
		"pix": func() *realnix.Daemon { return startPix(t, config) },
	} {
		t.Run(name, func(t *testing.T) {
			nix, pix := start(), start()
			for _, d := range []*realnix.Daemon{nix, pix} {
				if err := os.WriteFile(d.HostPath("/tmp/b.nix"), []byte(jsonBuilds), 0o644); err != nil {
					t.Fatal(err)
				}
				d.MustRun(t, "nix-instantiate", "/tmp/b.nix")
			}
			drvs := strings.Fields(nix.MustRun(t, "nix-instantiate", "/tmp/b.nix"))
			calls := [][]string{drvs[:1], drvs[:1], drvs[1:2], drvs[2:3], {drvs[1], drvs[3]}}
			for i, drvs := range calls {
				args := []string{"build", "--log-format", "internal-json", "-j", "1"}
				if i == len(calls)-1 {
					args = append(args, "--keep-going")
				}
				for _, drv := range drvs {
					args = append(args, drv+"^*")
				}
				_, want, wantErr := nix.Run(append([]string{"nix", "--extra-experimental-features", "nix-command"}, append(args, "--no-link")...)...)
				var stdout, got bytes.Buffer
				code := run(args, strings.NewReader(""), &stdout, &got, func(name string) string {
					return map[string]string{"PIX_STORE": "unix://" + pix.Socket}[name]
				})
				if _, _, watched := watchText(want); watched != code {
					t.Errorf("%v: pix watch exits with %d, not %d", args, watched, code)
				}
				if (code == exitYes) != (wantErr == nil) {
					t.Errorf("%v: exit code %d, Nix: %v", args, code, wantErr)
				}
				// Nix builds independent derivations in any order.
				compare := withoutIDs
				if len(drvs) > 1 {
					compare = byDerivation
				}
				if want, got := compare(want), compare(got.String()); want != got {
					t.Errorf("%v\nNix:\n%s\npix:\n%s", args, want, got)
				}
			}
		})
	}
}

var eventID = regexp.MustCompile(`"(id|parent)":[1-9][0-9]*`)

func withoutIDs(events string) string { return eventID.ReplaceAllString(events, `"$1":N`) }

// byDerivation returns the events of each build, then the events of other activities, both in their order, and then the
// messages, sorted.
func byDerivation(events string) string {
	builds := map[string][]string{}
	buildOf := map[uint64]string{}
	var others, messages []string
	for line := range strings.Lines(events) {
		var e struct {
			Action string
			ID     uint64
			Type   uint64
			Fields []any
		}
		text, _ := strings.CutPrefix(line, "@nix ")
		if err := json.Unmarshal([]byte(text), &e); err != nil || e.Action == "msg" {
			messages = append(messages, line)
			continue
		}
		if e.Action == "start" && e.Type == uint64(activity.Build) {
			buildOf[e.ID] = fmt.Sprint(e.Fields[0])
		}
		if drv := buildOf[e.ID]; drv != "" {
			builds[drv] = append(builds[drv], line)
		} else {
			others = append(others, line)
		}
	}
	slices.Sort(messages)
	var sorted []string
	for _, drv := range slices.Sorted(maps.Keys(builds)) {
		sorted = append(sorted, builds[drv]...)
	}
	return withoutIDs(strings.Join(slices.Concat(sorted, others, messages), ""))
}
