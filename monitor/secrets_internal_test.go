package monitor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/activity"
	"pix/derivation"
	"pix/protocol"
	"pix/storepath"
)

const password = "hunter2"

// secretConversation returns a conversation that contains the password everywhere.
func secretConversation(t *testing.T) []sent {
	s := newScript(t, protocol.MakeVersion(21))
	url := "https://me:" + password + "@example.org/x"
	s.request(&protocol.SetOptionsRequest{Overrides: map[string]string{
		"access-tokens": "github.com=" + password, "extra-access-tokens": password, "netrc-file": "/" + password,
		"substituters": "https://a " + url, "extra-trusted-substituters": url, "impure-env": "X=" + password,
		"extra-netrc-file": password, "store": "https://" + password + "@example.org?token=" + password, "builders": "https://" + password + ":x@b",
		"build-hook": "machine example.org login me password " + password,
	}})
	s.reply(protocol.SetOptions, new(protocol.None))
	s.request(&protocol.AddTextToStoreRequest{Name: "x", Contents: password})
	s.message(protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: "copying from '" + url + "'"}})
	s.message(protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: "machine b\n\tlogin me\n\tpassword " + password + "\n"}})
	s.message(protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "cannot download '" + url + "'", Traces: []string{"from " + url}}})
	drv := &derivation.Derivation{Name: "x", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh", Args: []string{"-c", url}}
	drv.Outputs.Set("out", derivation.InputAddressedOutput(somePath))
	drv.Env = derivation.MapOf(
		derivation.Entry[string, string]{Key: "GITHUB_TOKEN", Value: password},
		derivation.Entry[string, string]{Key: "src", Value: url},
		derivation.Entry[string, string]{Key: derivation.StructuredAttrsKey, Value: `{"dbPassword":"` + password + `"}`},
	)
	s.request(&protocol.BuildDerivationRequest{Path: somePath + ".drv", Derivation: drv})
	s.message(protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "no"}})
	return s.parts
}

// Neither events nor a recording contain secrets. With the contents, the settings stay secret.
func TestSecrets(t *testing.T) {
	for _, bodies := range []bool{false, true} {
		var shown strings.Builder
		m := &Monitor{Handle: func(e *Event) {
			b, err := json.Marshal(e)
			if err != nil {
				t.Error(err)
			}
			shown.Write(b)
			shown.WriteString(e.String())
		}}
		file := filepath.Join(t.TempDir(), "recording")
		r, err := CreateRecorder(file)
		if err != nil {
			t.Fatal(err)
		}
		r.Bodies = bodies
		tap := newTap(&m.memory, maxQueued, true)
		o := newObserver(m, 1, tap, r.connection(1))
		var b batch
		for _, p := range secretConversation(t) {
			tap.push(p.from, p.b)
			b = o.step(b)
		}
		tap.end(FromClient, nil)
		tap.end(FromDaemon, nil)
		o.step(b)
		o.finish()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if o.operations != 3 || o.raw {
			t.Fatalf("%d operations: %s", o.operations, shown.String())
		}
		if strings.Contains(shown.String(), password) {
			t.Errorf("the events contain the password: %s", shown.String())
		}
		recorded, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(recorded)) {
			if strings.Contains(line, password) && (!bodies || strings.HasPrefix(line, "#") || strings.Contains(line, "SetOptions")) {
				t.Errorf("bodies %v: %s", bodies, line)
			}
		}
		if got := strings.Contains(string(recorded), password); got != bodies {
			t.Errorf("bodies %v, but the recording contains contents: %v", bodies, got)
		}
	}
}

func TestCommandWithoutSecrets(t *testing.T) {
	args := []string{
		"nix", "--option", "access-tokens", "github.com=" + password, "--access-tokens=" + password, "--argstr", "dbPassword", password,
		"GITHUB_TOKEN=" + password, "https://me:" + password + "@host/x", "--cores=4", "--impure-env", "A=" + password,
		"--to", "https://" + password + "@cache?access_token=" + password, "NIX_CONFIG=access-tokens = " + password, "NIX_CONFIG=cores = 1",
	}
	got := strings.Join(withoutSecrets(args), " ")
	want := "nix --option access-tokens (secret) --access-tokens=(secret) --argstr dbPassword (secret) " +
		"GITHUB_TOKEN=(secret) https://xxxxx@host/x --cores=4 --impure-env (secret) " +
		"--to https://xxxxx@cache?access_token=xxxxx NIX_CONFIG=(secret) NIX_CONFIG=cores = 1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
