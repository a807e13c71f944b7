package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pix/internal/latency"
	"pix/internal/realnix"
)

// pix daemon builds on other machines as the daemon of Nix 2.34 does, with the same messages, logs and infos: on the daemons
// of Nix and of pix, for a trusted and an untrusted user of the machine.
func TestMachinesOfStockClients(t *testing.T) {
	s := realnix.Get(t, "sid")
	config := map[string]string{
		"sandbox": "false", "experimental-features": features, "max-jobs": "0",
		"builders": "ssh-ng://localhost?remote-program=/tmp/pix%20daemon&remote-store=unix:///tmp/machine x86_64-linux - 1 1 ca-derivations,big",
	}
	for _, trusted := range []string{"*", ""} {
		machine := map[string]string{
			"sandbox": "false", "experimental-features": features, "trusted-users": trusted, "allowed-users": "*", "system-features": "big ca-derivations",
			"require-sigs": "false",
		}
		run := func(d, there *realnix.Daemon) []answer {
			installPix(t, d, "/tmp/pix")
			latency.Proxy(t, d.HostPath("/tmp/machine"), there.Socket, 0)
			answers := runElsewhere(t, d)
			drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/elsewhere.nix", "-A", "top"))
			a := runAnswer(t, &there.Client, "", "nix-store --check-validity "+drv)
			if hasDrv := a.Code == 0; hasDrv != (trusted == "") {
				t.Errorf("trusted-users = %q: the machine has the derivation: %t", trusted, hasDrv)
			}
			return answers
		}
		nix := func(config map[string]string) *realnix.Daemon {
			return realnix.Start(t, s, &realnix.Options{Config: config})
		}
		want := run(nix(config), nix(machine))
		for name, got := range map[string][]answer{
			"pix on Nix": run(startPix(t, config), nix(machine)),
			"pix on pix": run(startPix(t, config), startPix(t, machine)),
		} {
			for i := range want {
				if trusted == "" && brokenInNix.MatchString(want[i].Command) {
					want[i].Stderr, got[i].Stderr = "", ""
				}
				if diff := diffAnswers(want[i], got[i]); diff != "" {
					t.Errorf("%s, trusted-users = %q: %s (-nix +pix):\n%s", name, trusted, want[i].Command, diff)
				}
			}
		}
	}
}

// brokenInNix matches builds that fail on a machine that does not trust the user: Nix's daemon then reports an output that is
// not valid.
var brokenInNix = regexp.MustCompile(`-A (fails|needs)$`)

// onlyNix matches lines that pix prints in another form, about copies, or not at all: Nix also reports the activity of the machine.
var onlyNix = regexp.MustCompile(`(?m)^(copying .*|building '[^']*'\.\.\.)\n`)

const elsewhereNix = `
let make = name: script: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" script ]; } // attrs); in rec {
	low = make "low" "echo low; echo low > $out; echo dev > $dev" { outputs = [ "out" "dev" ]; };
	top = make "top" "echo $low > $out; read x < $low; echo got $x" { inherit low; text = builtins.toFile "text" "text"; };
	fails = make "fails" "echo one; echo two; exit 3" { };
	needs = make "needs" "echo > $out" { inherit fails; };
	floating = make "floating" "echo $top > $out" { inherit top; __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
	fixed = make "fixed" "echo hello > $out" { outputHashAlgo = "sha256"; outputHashMode = "flat"; outputHash = "sha256-WJG5tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoZ0JkChPCE="; };
	feature = make "feature" "echo > $out" { requiredSystemFeatures = [ "big" ]; };
	nowhere = make "nowhere" "echo > $out" { requiredSystemFeatures = [ "kvm" ]; };
	other = make "other" "echo > $out" { system = "riscv64-linux"; };
}
`

// runElsewhere builds, and returns what the client says.
func runElsewhere(t *testing.T, d *realnix.Daemon) []answer {
	t.Helper()
	if err := os.WriteFile(d.HostPath("/tmp/elsewhere.nix"), []byte(elsewhereNix), 0o644); err != nil {
		t.Fatal(err)
	}
	var answers []answer
	for command := range strings.Lines(strings.TrimSpace(`
nix-build --no-out-link /tmp/elsewhere.nix -A top
nix-store --read-log $(nix-instantiate /tmp/elsewhere.nix -A top 2>/dev/null)
nix path-info --json $(nix-build --no-out-link /tmp/elsewhere.nix -A top -A low.dev 2>/dev/null) | grep -E 'ultimate|deriver|signatures'
nix-build --no-out-link /tmp/elsewhere.nix -A floating
nix-build --no-out-link /tmp/elsewhere.nix -A fixed
nix-build --no-out-link /tmp/elsewhere.nix -A feature
nix-build --no-out-link /tmp/elsewhere.nix -A fails
nix-store --read-log $(nix-instantiate /tmp/elsewhere.nix -A fails 2>/dev/null)
nix-build --no-out-link /tmp/elsewhere.nix -A needs
nix-build --no-out-link /tmp/elsewhere.nix -A nowhere
nix-build --no-out-link /tmp/elsewhere.nix -A other
nix-build --no-out-link /tmp/elsewhere.nix -A low --check
nix-build --no-out-link /tmp/elsewhere.nix -A feature --check --builders '' --max-jobs 1
`)) {
		a := runAnswer(t, &d.Client, "", strings.TrimSpace(command))
		a.Stderr = onlyNix.ReplaceAllString(a.Stderr, "")
		answers = append(answers, a)
	}
	return answers
}
