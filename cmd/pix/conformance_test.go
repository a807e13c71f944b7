package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/internal/realnix"
)

// staticPix builds a pix that runs in any root directory, and returns its file.
var staticPix = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pix-static")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "pix")
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

// installPix copies a static pix into the world of a real Nix. Another process copies it: a file that this process
// has open for writing can be inherited by a process that another test starts, and then it cannot be executed.
func installPix(t *testing.T, d *realnix.Daemon, name string) {
	t.Helper()
	program, err := staticPix()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", program, d.HostPath(name)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// startPix starts pix daemon in the world of a real Nix, with its own store.
func startPix(t *testing.T, config map[string]string) *realnix.Daemon {
	t.Helper()
	program, err := staticPix()
	if err != nil {
		t.Fatal(err)
	}
	return realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Program: program, Args: []string{"daemon"}, Config: config, Env: []string{"NIX_STATE_DIR=/nix/var/nix"}})
}

// An answer is the result of a command.
type answer struct {
	Command, Stdout, Stderr string
	Code                    int
}

// Stock clients get the same results and exit codes from pix daemon as from the daemon of Nix 2.34. Clients of 2.34
// get the same messages, too. Older clients do not understand all messages of a daemon of 2.34.
func TestDaemonAnswersAsNix(t *testing.T) {
	world := makeWorld(t)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		t.Parallel()
		nix := realnix.Start(t, realnix.Get(t, "sid"), nil)
		pix := startPix(t, nil)
		conversation := conversation
		if s.Name == "sid" {
			conversation += mistakes
		}
		want := converse(t, nix, nix.ClientOf(t, s), world, conversation)
		got := converse(t, pix, pix.ClientOf(t, s), world, conversation)
		compareAnswers(t, s, want, got)
		if t.Failed() {
			t.Logf("messages of pix:\n%s", regexp.MustCompile("accepted connection.*\n").ReplaceAllString(pix.Stderr(), ""))
		}
	})
}

// QueryMissing skips dynamic derivations that are not built yet, with the warning of Nix.
func TestDynamicDerivationsAsNix(t *testing.T) {
	world := makeWorld(t)
	config := map[string]string{"experimental-features": "nix-command ca-derivations dynamic-derivations"}
	const conversation = `
nix-store --import < export > /dev/null
nix build --dry-run "$drv^out^out"
nix build --dry-run "$drv^out^out" "$drv^out"
`
	s := realnix.Get(t, "sid")
	nix, pix := realnix.Start(t, s, &realnix.Options{Config: config}), startPix(t, config)
	compareAnswers(t, s, converse(t, nix, &nix.Client, world, conversation), converse(t, pix, &pix.Client, world, conversation))
}

// compareAnswers compares the answers of Nix and of pix to clients of a version.
func compareAnswers(t *testing.T, s realnix.Suite, want, got []answer) {
	t.Helper()
	for i := range want {
		if s.Name != "sid" {
			want[i].Stderr, got[i].Stderr = "", ""
		}
		// Nix 2.8 computes content addresses with the positions of self-references. pix accepts these, Nix 2.34
		// does not.
		if s.Name == "bookworm" && strings.HasPrefix(want[i].Command, "nix store make-content-addressed") && want[i].Code == 1 && got[i].Code == 0 {
			continue
		}
		if diff := diffAnswers(want[i], got[i]); diff != "" {
			t.Errorf("%s (-nix +pix):\n%s", want[i].Command, diff)
		}
	}
}

// A world is the data of a conversation.
type world struct {
	export []byte            // an export of derivations and their outputs
	key    []byte            // a secret key
	paths  map[string]string // values of variables, by name
}

// makeWorld builds derivations with a real Nix.
func makeWorld(t *testing.T) *world {
	t.Helper()
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	if err := os.WriteFile(d.HostPath("/tmp/built.nix"), []byte(builtNix), 0o666); err != nil {
		t.Fatal(err)
	}
	w := &world{paths: make(map[string]string)}
	outs := strings.Fields(d.MustRun(t, "nix-build", "--no-out-link", "/tmp/built.nix"))
	w.paths["top"], w.paths["doc"] = outs[0], outs[1]
	w.paths["drv"] = strings.TrimSpace(d.MustRun(t, "nix-store", "--query", "--deriver", outs[0]))
	w.export = []byte(d.MustRun(t, "sh", "-c", "nix-store --export $(nix-store -qR --include-outputs "+w.paths["drv"]+")"))
	w.key = []byte(d.MustRun(t, "nix", "key", "generate-secret", "--key-name", "test-1"))
	return w
}

const builtNix = `
let
  make = name: text: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh";
    outputs = [ "out" "doc" ];
    args = [ "-c" "echo building ${name}; echo ${text} > $out; echo $out > $doc" ];
  };
  dep = make "dep" "no-references";
  top = make "top" "${dep} and ${builtins.toFile "text" "a text"} and $out";
in [ top top.doc ]
`

// quietCommands matches the commands that must wait until the daemon serves no client. Nix's daemon has a process
// for each client, which may exist for a moment after the client has ended, with temporary roots and lock files.
// For pix daemon, which has no such processes, a short delay is enough.
var quietCommands = regexp.MustCompile(`--gc|--delete|--roots|nix-collect-garbage|nix store (gc|delete)|\.lock`)

// waitQuiet waits until the daemon has at most this number of processes.
func waitQuiet(t *testing.T, d *realnix.Daemon, processes int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(d.Processes()) > processes; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the daemon still has processes of clients that have ended: %v", d.Processes())
		}
	}
}

// converse runs the commands of a conversation, and returns their results.
func converse(t *testing.T, d *realnix.Daemon, client *realnix.Client, w *world, conversation string) []answer {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	processes := len(d.Processes())
	client.MustRun(t, "sh", "-c", prepare)
	must(os.WriteFile(d.HostPath("/root/try/export"), w.export, 0o666))
	must(os.WriteFile(d.HostPath("/root/try/key"), w.key, 0o600))
	must(os.WriteFile(d.HostPath("/root/try/large.nix"), []byte(largeNix), 0o666))
	must(os.WriteFile(d.HostPath("/root/try/builds.nix"), []byte(buildsNix), 0o666))
	client.MustRun(t, "sh", "-c", "cd /root/try && (nix key convert-secret-to-public < key || nix-store --version) > key.pub 2>/dev/null")
	var answers []answer
	for line := range strings.Lines(conversation) {
		line = strings.TrimSpace(line)
		command, unordered := strings.CutPrefix(line, "@")
		command, ignoreStderr := strings.CutPrefix(command, "!")
		if command == "" {
			continue
		}
		if quietCommands.MatchString(command) {
			waitQuiet(t, d, processes)
			time.Sleep(200 * time.Millisecond)
		}
		cmd := client.Command(context.Background(), "bash", "-c", "cd /root/try; set -o pipefail; "+command)
		cmd.Env = append(cmd.Env, "absent=/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent", "NIX_PATH=", "PAGER=cat")
		for name, path := range w.paths {
			cmd.Env = append(cmd.Env, name+"="+path)
		}
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		a := answer{Command: line}
		var exit *exec.ExitError
		if err := cmd.Run(); errors.As(err, &exit) {
			a.Code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		a.Stdout = normalize(stdout.String(), unordered)
		if !ignoreStderr {
			a.Stderr = normalize(stderr.String(), true)
		}
		answers = append(answers, a)
	}
	return answers
}

// volatile are the parts of output that differ between runs: times, process ids, versions and colours.
var volatile = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`), ""},
	{regexp.MustCompile(`"(registration|start|stop)Time": ?[0-9]+`), `"${1}Time":0`},
	{regexp.MustCompile(`\{temp:[0-9]+\}`), "{temp:0}"},
	{regexp.MustCompile(`/proc/[0-9]+/`), "/proc/0/"},
	{regexp.MustCompile(`(?m)^Version: .*`), "Version: x"},
	{regexp.MustCompile(`"version": ?"[^"]*"`), `"version":"x"`},
	{regexp.MustCompile(`(note: hard linking is currently saving .*|removing stale .*)\n`), ""},
	{regexp.MustCompile(`(warning: unknown setting .*|warning: .*Git tree.*)\n`), ""},
	{regexp.MustCompile(`nix-build-[0-9]+-[0-9]+|nix-[0-9]+-[0-9]+`), "nix-0-0"},
}

// normalize returns output without its volatile parts. It sorts the lines if their order does not matter.
func normalize(text string, unordered bool) string {
	for _, p := range volatile {
		text = p.pattern.ReplaceAllString(text, p.replacement)
	}
	if unordered {
		lines := strings.SplitAfter(text, "\n")
		slices.Sort(lines)
		text = strings.Join(lines, "")
	}
	return text
}

// missingLines returns the lines of one text that another one has less often.
func missingLines(lines, other []string) (missing []string) {
	count := make(map[string]int)
	for _, line := range other {
		count[line]++
	}
	for _, line := range lines {
		if count[line]--; count[line] < 0 {
			missing = append(missing, line)
		}
	}
	return missing
}

// diffAnswers returns the differences between two answers, or "".
func diffAnswers(want, got answer) string {
	var b strings.Builder
	if want.Code != got.Code {
		fmt.Fprintf(&b, "exit code %d, want %d\n", got.Code, want.Code)
	}
	for _, part := range []struct{ name, want, got string }{{"stdout", want.Stdout, got.Stdout}, {"stderr", want.Stderr, got.Stderr}} {
		if part.want == part.got {
			continue
		}
		fmt.Fprintf(&b, "%s:\n", part.name)
		wantLines, gotLines := strings.Split(part.want, "\n"), strings.Split(part.got, "\n")
		for _, line := range missingLines(wantLines, gotLines) {
			fmt.Fprintf(&b, "  - %s\n", line)
		}
		for _, line := range missingLines(gotLines, wantLines) {
			fmt.Fprintf(&b, "  + %s\n", line)
		}
	}
	return b.String()
}
