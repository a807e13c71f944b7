package builder

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/storepath"
)

// An outcome is how a build by Nix 2.34.8 ended.
type outcome struct {
	status  string
	message string // of the build
	err     string // that ended the request
}

// goldenOutcomes reads the outcomes of the derivations of cases.nix. It skips the test where there are none.
func goldenOutcomes(t *testing.T) (outcomes map[string]outcome, expressions string) {
	t.Helper()
	dir := testenv.BuilderData(t, "")
	text, err := os.ReadFile(filepath.Join(dir, "nix-2.34.8-results-1.txt"))
	if err != nil {
		t.Fatal(err)
	}
	outcomes = map[string]outcome{}
	for _, block := range strings.Split("\n"+string(text), "\n## ")[1:] {
		head, body, _ := strings.Cut(block, "\n")
		name, _, _ := strings.Cut(head, " ")
		outcomes[name] = parseOutcome(t, body)
	}
	expression, err := os.ReadFile(filepath.Join(dir, "cases.nix"))
	if err != nil {
		t.Fatal(err)
	}
	return outcomes, string(expression)
}

func parseOutcome(t *testing.T, body string) outcome {
	t.Helper()
	if list, _, ok := strings.Cut(body, "\n]\n"); ok && strings.HasPrefix(body, "[") {
		var results []struct{ Status, Error string }
		if err := json.Unmarshal([]byte(list+"]"), &results); err != nil {
			t.Fatal(err)
		}
		return outcome{status: results[0].Status, message: results[0].Error}
	}
	_, text, _ := strings.Cut(strings.TrimRight(body, "\n"), "pix: ")
	return outcome{err: strings.ReplaceAll(text, "\n  ", "\n")}
}

// deviations are the outcomes that differ from Nix's, and why.
var deviations = map[string]func(o *outcome){
	// A carriage return before a line feed is part of the line end, as from Nix 2.36 on.
	"crlog": func(o *outcome) { o.message = strings.Replace(o.message, "lines:\n> \n>", "lines:\n> bc\n>", 1) },
}

// TestGoldenOutcomes builds the derivations of cases.nix, and compares status and text with what Nix 2.34.8 says.
func TestGoldenOutcomes(t *testing.T) {
	outcomes, expressions := goldenOutcomes(t)
	suite := realnix.Get(t, "sid")
	d := realnix.Start(t, suite, &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations"}})
	if err := os.WriteFile(d.HostPath("/tmp/cases.nix"), []byte(expressions), 0o644); err != nil {
		t.Fatal(err)
	}
	p := sandboxedPlace(t)
	p.opts.SandboxPaths = nil
	p.opts.Shell = filepath.Join(suite.Root, "usr/bin/bash-static")
	p.opts.SystemFeatures = []string{"benchmark", "big-parallel", "ca-derivations", "kvm", "nixos-test", "recursive-nix", "uid-range"}
	p.opts.MaxLogSize = 100_000
	for _, name := range sortedKeys(outcomes) {
		want := outcomes[name]
		if change, ok := deviations[name]; ok {
			change(&want)
		}
		if want.status == "DependencyFailed" {
			continue // dependencies are built by the caller
		}
		t.Run(name, func(t *testing.T) {
			p.opts.Timeout = 0 // on a loaded machine it would end other builds
			if want.message == "timed out after 4 seconds" {
				p.opts.Timeout = 4 * time.Second
			}
			drv := strings.TrimSpace(d.MustRun(t, "nix-instantiate", "/tmp/cases.nix", "-A", name))
			req := p.load(t, d, drv)
			result, _, err := p.build(req)
			got := outcome{}
			if err != nil {
				got.err = err.Error()
			} else {
				got.status, got.message = result.Status.String(), activity.Plain(p.logical(result.Message)) // as the data was printed
			}
			if got != want {
				t.Errorf("pix: %q\nNix: %q", got, want)
			}
		})
	}
}

// logical returns a message in which files have the names that they would have in /nix/store.
func (p *place) logical(message string) string {
	dir := filepath.Dir(p.store.ObjectFile(p.anyPath()))
	return strings.ReplaceAll(message, dir, string(p.store.Dir()))
}

// load copies a derivation from a real store, and builds what it needs.
func (p *place) load(t *testing.T, d *realnix.Daemon, file string) *Request {
	t.Helper()
	path, err := p.store.Dir().Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.HostPath(file))
	if err != nil {
		t.Fatal(err)
	}
	drv, err := derivation.ParseAt(path, string(text))
	if err != nil {
		t.Fatal(err)
	}
	req := &Request{Path: path, Derivation: drv, Inputs: map[storepath.Path]map[string]storepath.Path{}}
	for input, used := range drv.InputDerivations.All() {
		result, _, err := p.build(p.load(t, d, string(input)))
		if err != nil || !result.Status.Succeeded() {
			t.Fatalf("%v, %+v", err, result)
		}
		req.Inputs[input] = map[string]storepath.Path{}
		for name := range used.Names.All() {
			req.Inputs[input][name] = result.Outputs[name].OutPath
		}
	}
	added, err := p.store.AddTextToStore(t.Context(), path.Name(), string(text), drv.References().Slice())
	if err != nil || added != path {
		t.Fatalf("%s was added as %s: %v", path, added, err)
	}
	return req
}
