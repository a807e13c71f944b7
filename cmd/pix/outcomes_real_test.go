package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
)

// outcomeConfig are the settings under which the outcomes were recorded.
var outcomeConfig = map[string]string{
	"sandbox":            "true",
	"sandbox-paths":      "/bin/sh=/usr/bin/bash-static /usr /lib /lib64",
	"system-features":    "benchmark big-parallel ca-derivations kvm nixos-test recursive-nix uid-range",
	"max-build-log-size": "100000",
}

// An outcome is how a build ended.
type outcome struct {
	status, text string
}

// recordedOutcomes reads the outcomes of builds by Nix 2.34.8, by name.
func recordedOutcomes(t *testing.T, file string) map[string]outcome {
	t.Helper()
	text, err := os.ReadFile(testenv.BuilderData(t, file))
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make(map[string]outcome)
	status, message := regexp.MustCompile(`"status": "(\w+)"`), regexp.MustCompile(`"error": ("(?:[^"\\]|\\.)*")`)
	for _, block := range strings.Split("\n"+string(text), "\n## ")[1:] {
		name, _, _ := strings.Cut(block, " ")
		o := outcome{}
		if m := status.FindStringSubmatch(block); m != nil {
			o.status = m[1]
		}
		if m := message.FindStringSubmatch(block); m != nil {
			if err := json.Unmarshal([]byte(m[1]), &o.text); err != nil {
				t.Fatal(err)
			}
		} else if _, text, ok := strings.Cut(block, "\npix: "); ok {
			o.text, _, _ = strings.Cut(text, "\n")
		}
		outcomes[name] = o
	}
	return outcomes
}

// otherOutcomes are outcomes that differ from Nix's, with reasons.
var otherOutcomes = map[string]func(o *outcome){
	// A carriage return before a line feed is part of the line end, as from Nix 2.36 on.
	"crlog": func(o *outcome) { o.text = strings.Replace(o.text, "lines:\n> \n>", "lines:\n> bc\n>", 1) },
	// The tests wait for a second only.
	"signal": func(o *outcome) { o.text = strings.Replace(o.text, "4 seconds", "1 seconds", 1) },
	"silent": func(o *outcome) { o.text = strings.Replace(o.text, "4 seconds", "1 seconds", 1) },
	// A kind of file that no store can have is an error of this build, and not of the whole request.
	"fifo2": func(o *outcome) { o.status = "OutputRejected" },
	// Nix 2.34 fails where a builder has made a file with the name of a temporary file of Nix.
	"tmpname2":  func(o *outcome) { o.status = "Built" },
	"tmpname22": func(o *outcome) { o.status = "Built" },
}

// timeoutOf returns the timeout for a case in seconds, as an argument.
func timeoutOf(name string) string {
	if name == "signal" || name == "silent" {
		return "1"
	}
	return "100"
}

// Pix build reports the outcomes of Nix 2.34, with status and text: as a client of pix daemon, and on the store itself.
func TestOutcomesOfBuild(t *testing.T) {
	outcomes := recordedOutcomes(t, "nix-2.34.8-results-1.txt")
	ways := []string{"local"}
	if os.Getenv("PIX_LONG") != "" {
		ways = append(ways, "daemon")
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			d := startPix(t, outcomeConfig)
			instantiateCases(t, d, "cases.nix", "")
			for name, want := range outcomes {
				if change := otherOutcomes[name]; change != nil {
					change(&want)
				}
				if way == "local" {
					want.text = strings.ReplaceAll(want.text, "\n  nix log ", "\n  pix log ")
				}
				if got := pixOutcome(t, d, way, name); got != want {
					t.Errorf("%s\npix: %q\nNix: %q", name, got, want)
				}
			}
		})
	}
	t.Run("files", func(t *testing.T) {
		config := maps.Clone(outcomeConfig)
		config["experimental-features"] = "nix-command ca-derivations"
		d := startPix(t, config)
		instantiateCases(t, d, "cases2.nix", casesWithoutBusybox)
		for name, want := range recordedOutcomes(t, "nix-2.34.8-results-2.txt") {
			if change := otherOutcomes[name+"2"]; change != nil {
				change(&want)
			}
			if got := pixOutcome(t, d, "daemon", name); got.status != want.status {
				t.Errorf("%s\npix: %q\nNix: %q", name, got, want)
			}
		}
	})
}

// casesWithoutBusybox replaces the function of cases2.nix that runs busybox.
const casesWithoutBusybox = `let p = builtins.toFile "probe" "probe";
  d = name: sh: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/usr/bin/bash"; args = ["-c" "trap : EXIT; ${sh}"]; PATH="/usr/bin"; inherit p; } // attrs);
in {`

// instantiateCases makes derivations of an expression of cases. The text before "in {" is replaced unless the head is empty.
func instantiateCases(t *testing.T, d *realnix.Daemon, file, head string) {
	t.Helper()
	text, err := os.ReadFile(testenv.BuilderData(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if head != "" {
		_, body, _ := strings.Cut(string(text), "in {")
		text = []byte(head + body)
	}
	if err := os.WriteFile(d.HostPath("/tmp/cases.nix"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pixOutcome builds a case with pix build.
func pixOutcome(t *testing.T, d *realnix.Daemon, remote, name string) outcome {
	t.Helper()
	drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/cases.nix", "-A", name))
	a := runAnswer(t, &d.Client, "NIX_REMOTE="+remote, "/root/pix build --json --timeout "+timeoutOf(name)+" '"+drv+"^*'")
	var results []struct{ Status, Error string }
	if err := json.Unmarshal([]byte(a.Stdout), &results); err != nil {
		for line := range strings.Lines(a.Stderr) {
			if text, ok := strings.CutPrefix(line, "pix: "); ok {
				return outcome{text: strings.TrimSpace(text)}
			}
		}
		return outcome{text: a.Stdout + a.Stderr}
	}
	if (a.Code == 0) != (results[0].Status == "Built") {
		t.Errorf("%s: the status is %s, but the exit code %d", name, results[0].Status, a.Code)
	}
	return outcome{results[0].Status, results[0].Error}
}

// Stock clients get the same texts and exit codes for the recorded cases from pix daemon and from Nix's.
func TestOutcomesOfStockClients(t *testing.T) {
	suites, files := []string{"sid"}, map[string]string{"cases2.nix": casesWithoutBusybox}
	if os.Getenv("PIX_LONG") != "" {
		suites = []string{"bookworm", "trixie", "sid"}
		files["cases.nix"] = ""
	}
	for _, suite := range suites {
		for file, head := range files {
			t.Run(suite+"/"+file, func(t *testing.T) {
				s := realnix.Get(t, suite)
				nix := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: outcomeConfig})
				pix := startPix(t, outcomeConfig)
				instantiateCases(t, nix, file, head)
				instantiateCases(t, pix, file, head)
				names := strings.Fields(nix.MustRun(t, "nix", "eval", "--raw", "--impure", "--expr", `toString (builtins.attrNames (import /tmp/cases.nix))`))
				for _, name := range names {
					command := "nix-build --no-out-link /tmp/cases.nix -A " + name + " --timeout " + timeoutOf(name)
					want, got := runAnswer(t, nix.ClientOf(t, s), "", command), runAnswer(t, pix.ClientOf(t, s), "", command)
					want.Stderr, got.Stderr = withoutBuilding(want.Stderr), withoutBuilding(got.Stderr)
					if diff := diffAnswers(want, got); diff != "" && !slices.Contains(decided, name) {
						t.Errorf("%s (-nix +pix):\n%s", name, diff)
					}
				}
			})
		}
	}
}

// decided are cases whose outcomes differ on purpose: see otherOutcomes. The log of toolong ends anywhere. Nix rejects
// graphname and graphodd already when it plans the build.
var decided = []string{"crlog", "fifo", "toolong", "graphname", "graphodd"}

// withoutBuilding removes the lines that say that a build begins. Nix begins another build after the first failure, and
// ends it at once.
func withoutBuilding(text string) string {
	return regexp.MustCompile(`(?m)^(building|checking outputs of) '.*\n`).ReplaceAllString(text, "")
}

// variousBuilds are commands for derivations of various.nix.
const variousBuilds = `
nix-build --no-out-link various.nix -A dep2 -k
nix-build --no-out-link various.nix -A top -A ok -A fail -k
nix-build --no-out-link various.nix -A ok -A badsys -k
nix-build --no-out-link various.nix -A ok --check
nix-build --no-out-link various.nix -A nd --check
nix-build --no-out-link various.nix -A nd
nix-build --no-out-link various.nix -A nd --check
nix-build --no-out-link various.nix -A nd --check -K
nix-build --no-out-link various.nix -A nd --check
nix-build --no-out-link various.nix -A two --check -k
nix-build --no-out-link various.nix -A fail -K
nix-build --no-out-link various.nix -A two.dev
nix-build --no-out-link various.nix -A two -A two.dev
nix-build --no-out-link various.nix -A ok -j 0
nix-build --no-out-link various.nix -A other -j 0
nix-build --no-out-link various.nix -A other --repair
nix build --no-link -f various.nix fail
nix build --no-link -f various.nix dep2 -L
nix build --no-link -f various.nix top --print-build-logs --keep-going
nix build --no-link -f various.nix noisy -L
nix build --no-link -f various.nix noisy --rebuild -L
nix build --no-link --json -f various.nix two ok
nix log -f various.nix noisy
nix log -f various.nix fail
nix-store --realise /nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent.drv
nix-store --realise $(nix-instantiate various.nix -A two)!nope
nix build --no-link "$(nix-instantiate various.nix -A two)^nope"
nix-build --no-out-link various.nix -A fetch
nix-build --no-out-link various.nix -A channel
nix-build --no-out-link various.nix -A evil
nix-env -f various.nix -iA envA envB
nix-env -f various.nix -iA envC
nix-env -q
find -L $(readlink -f /nix/var/nix/profiles/per-user/root/profile) | sed 's/^[^-]*//' | sort
nix-store --verify-path $(nix-store -qR $(nix-build --no-out-link various.nix -A two))
`

const variousNix = `
let
  d = name: sh: attrs: derivation ({ inherit name; system = "x86_64-linux"; builder = "/usr/bin/bash"; args = ["-c" "trap : EXIT; ${sh}"]; PATH="/usr/bin"; } // attrs);
  env = name: sh: d name "mkdir $out; cd $out; ${sh}" {} // { meta.priority = 5; };
in rec {
  ok = d "ok" "echo > $out" {};
  other = d "other" "echo building; echo > $out" {};
  fail = d "fail" "echo line1; echo line2; exit 7" {};
  dep = d "dep" "echo > $out" { x = fail; };
  dep2 = d "dep2" "echo > $out" { x = fail; y = d "fail2" "exit 1" {}; z = dep; };
  top = d "top" "echo > $out" { inherit dep dep2 ok; };
  badsys = d "badsys" ":" { system = "riscv64-linux"; };
  nd = d "nd" "echo building out=$out; head -c 20 /dev/urandom > $out" {};
  two = d "two" "echo two; echo $dev > $out; echo > $dev" { outputs = [ "out" "dev" ]; };
  noisy = d "noisy" "for i in $(seq 5); do echo line $i; done; echo '@nix {\"action\":\"setPhase\",\"phase\":\"check\"}'; printf 'rest'; echo > $out" {};
  fetch = import <nix/fetchurl.nix> { url = "file:///tmp/absent"; hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
  unpacked = import <nix/fetchurl.nix> { url = "http://127.0.0.1:1/nope"; unpack = true; hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
  channel = derivation { name = "channel"; system = "builtin"; builder = "builtin:unpack-channel"; src = /tmp/channel.tar; channelName = "nixos"; };
  evil = derivation { name = "evil"; system = "builtin"; builder = "builtin:unpack-channel"; src = /tmp/channel.tar; };
  envA = env "a-1" "mkdir -p bin share; echo one > bin/one; echo x > share/x; ln -s nowhere bin/dangling";
  envB = env "b-1" "mkdir -p bin share; echo two > bin/two; echo y > share/y";
  envC = env "c-1" "mkdir bin; echo three > bin/one";
}
`

// Commands of a stock client about several derivations, checks, kept directories and builtins have the same
// results with both daemons.
func TestVariousBuildsOfStockClients(t *testing.T) {
	s := realnix.Get(t, "sid")
	nix, pix := realnix.Start(t, s, &realnix.Options{Config: outcomeConfig}), startPix(t, outcomeConfig)
	for _, d := range []*realnix.Daemon{nix, pix} {
		if err := os.WriteFile(d.HostPath("/tmp/various.nix"), []byte(variousNix), 0o644); err != nil {
			t.Fatal(err)
		}
		d.MustRun(t, "sh", "-c", "mkdir /tmp/c /tmp/c/top && echo hello > /tmp/c/top/file && tar --mtime=@1 --owner=0 --group=0 -C /tmp/c -cf /tmp/channel.tar top")
	}
	commands := variousBuilds
	if os.Getenv("PIX_LONG") != "" {
		commands += "nix-build --no-out-link various.nix -A unpacked\n" // it tries five times
	}
	for command := range strings.Lines(commands) {
		command = strings.TrimSpace(command)
		if command == "" {
			continue
		}
		want, got := various(t, nix, command), various(t, pix, command)
		want.Stderr, got.Stderr = withoutBuilding(want.Stderr), withoutBuilding(got.Stderr)
		if diff := diffAnswers(want, got); diff != "" {
			t.Errorf("%s (-nix +pix):\n%s", command, diff)
		}
	}
}

func various(t *testing.T, d *realnix.Daemon, command string) answer {
	return runAnswer(t, d.ClientOf(t, d.Suite), "NIX_PATH=", "cd /tmp; "+command)
}
