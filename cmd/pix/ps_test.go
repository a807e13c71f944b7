package main

import (
	"bytes"
	"testing"
	"time"

	"pix/store"
)

// exampleBuilds are a build of Nix's user nixbld1 with two processes, and a build without details.
func exampleBuilds() []store.ActiveBuild {
	second, tenth := time.Second, 100*time.Millisecond
	user := store.User{UID: 30001, Name: "nixbld1"}
	return []store.ActiveBuild{
		{
			Derivation: exampleDrv, Start: time.Unix(1700000000, 0), PID: 4712, Owner: 4711, User: user, Phase: "buildPhase",
			Processes: []store.ActiveProcess{
				{PID: 4712, Parent: 4711, User: user, Args: []string{"bash", "-e", "builder.sh"}, CPUUser: &second},
				{PID: 4713, Parent: 4712, User: store.User{UID: 30001}, Args: []string{"make", "a\x1b]0;x\x07 b"}, CPUUser: &tenth, CPUSystem: &tenth},
			},
		},
		{Derivation: unbuiltDrv, Start: time.Unix(1700000100, 0), User: store.User{UID: 1000}, Phase: "a\nb\x1b[2J"},
	}
}

// exampleActiveBuilds returns the output of ps --json for the first of exampleBuilds.
func exampleActiveBuilds(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	a := newApp(nil, &out, nil, nil)
	if err := a.printBuilds(exampleBuilds()[:1], time.Time{}, psOptions{asJSON: true}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPsTable(t *testing.T) {
	now := time.Unix(1700000101, 5)
	want := "USER      PID   CPU   TIME  PHASE       DERIVATION\n" +
		"nixbld1  4712  1.2s  1m41s  buildPhase  " + string(exampleDrv) + "\n" +
		"1000        -     -     1s  a-b         " + string(unbuiltDrv) + "\n"
	if got := buildTable(exampleBuilds(), now, false); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = "USER      PID   CPU   TIME  PHASE       DERIVATION\n" +
		"nixbld1  4712  1.2s  1m41s  buildPhase  " + string(exampleDrv) + "\n" +
		"nixbld1  4712  1.0s                       bash -e builder.sh\n" +
		"30001    4713  0.2s                         make a b\n"
	if got := buildTable(exampleBuilds()[:1], now, true); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	cycle := store.ActiveBuild{Processes: []store.ActiveProcess{{PID: 1, Parent: 2}, {PID: 2, Parent: 1}, {PID: 3, Parent: 3}, {}}}
	for range 1000 {
		cycle.Processes = append(cycle.Processes, store.ActiveProcess{PID: 5}, store.ActiveProcess{PID: 6, Parent: 5}, store.ActiveProcess{PID: 7, Parent: 6})
	}
	if got := processRows(&cycle); len(got) > len(cycle.Processes) {
		t.Errorf("%d rows", len(got))
	}
}
