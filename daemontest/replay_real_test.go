package daemontest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/internal/realnix"
)

var update = flag.Bool("update", false, "record the traces in testdata again")

// recorded are the suites with traces in testdata: the oldest and the newest Nix.
var recorded = map[string]bool{"bullseye": true, "sid": true}

// The replay gives a client the same answers as the real daemon.
func TestReplayReal(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		for _, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				want, trace := sc.record(t, daemon.Unix{Path: d.Socket})
				if t.Failed() {
					t.Fatalf("\n%s", trace)
				}
				sc.replay(t, trace, want)
				if *update && recorded[s.Name] {
					sc.write(t, s, trace, want)
				}
			})
		}
	})
}

// replay replays a trace and compares the answers with the answers of the real daemon.
func (s scenario) replay(t *testing.T, trace string, want []string) {
	t.Helper()
	got, again := s.record(t, daemontest.Replay(t, strings.NewReader(trace), nil))
	sameLines(t, "answers", got, want)
	sameConversations(t, again, trace, !s.leaves)
	if t.Failed() {
		t.Logf("the trace is\n%s", trace)
	}
}

func (s scenario) write(t *testing.T, suite realnix.Suite, trace string, answers []string) {
	file := filepath.Join("testdata", "replay", fmt.Sprintf("%s-%s", suite.Version, s.name))
	head := fmt.Sprintf("# A conversation with Nix %s.\n", suite.Version)
	for name, text := range map[string]string{".trace": head + trace, ".answers": strings.Join(answers, "\n") + "\n"} {
		if err := os.WriteFile(file+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
