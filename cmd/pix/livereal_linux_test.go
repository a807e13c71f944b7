package main

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/internal/termtest"
	"pix/store"
	"pix/storepath"
)

// realBuilds adds derivations to a daemon: top needs good and mid, mid needs bad. good and bad wait for the file
// /tmp/go; then bad fails.
func realBuilds(t *testing.T, d *realnix.Daemon) map[string]storepath.Path {
	t.Helper()
	s, err := daemon.Open(context.Background(), daemon.Unix{Path: d.Socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	drvs := make(map[string]storepath.Path)
	add := func(name, script string, inputs ...string) {
		for i, input := range inputs {
			inputs[i] = `"` + drvs[input].Base() + `": {"outputs": ["out"], "dynamicOutputs": {}}`
		}
		news, err := parseNews(storepath.DefaultDir, `{"name": "`+name+`", "version": 4, "system": "x86_64-linux", "builder": "/bin/sh",
			"args": ["-c", "`+script+`"], "env": {"out": "", "PATH": "/usr/bin:/bin"},
			"inputs": {"srcs": [], "drvs": {`+strings.Join(inputs, ",")+`}}, "outputs": {"out": {}}}`, name)
		if err != nil {
			t.Fatal(err)
		}
		if drvs[name], err = news[0].add(t.Context(), s, store.ModuloHashes{}); err != nil {
			t.Fatal(err)
		}
	}
	const wait = "while ! test -e /tmp/go; do sleep 0.05; done; "
	add("good", wait+"echo x > $out")
	add("bad", "echo trying; "+wait+"echo oh no; exit 3")
	add("mid", "echo x > $out", "bad")
	add("top", "echo x > $out", "good", "mid")
	return drvs
}

// The view of a real build is the same for each daemon.
func TestLiveRealBuild(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		drvs := realBuilds(t, d)
		b := &scriptedBuild{t: t, socket: d.Socket}
		term := b.onTerminal(80, 24, nil, "pix", "build", "-k", "-j", "2", string(drvs["top"])+"^out")
		waitForLinesInAnyOrder(t, term,
			"○ top waits for 2",
			"├─ ● good Ns",
			"└─ ○ mid waits for 1",
			"   └─ ● bad Ns  trying",
			"2 running · 0 of 4 built · Ns · 2 waiting")
		if err := os.WriteFile(d.HostPath("/tmp/go"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if status := exitStatus(term.Wait()); status != 1 {
			t.Errorf("exit status %d", status)
		}
		checkTerminal(t, term)
		want := []string{
			"✗ bad failed after Ns",
			"  " + string(drvs["bad"]),
			"  builder failed with exit code 3",
			"  the last lines of its log:",
			"  │ trying",
			"  │ oh no",
			"1 of 4 built, 1 failed, 2 need a failed build in Ns",
		}
		got := screenLines(term)
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) || !strings.HasPrefix(got[len(want)], "pix: building ") {
			t.Errorf("the terminal shows\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Ctrl-C stops a real build.
func TestLiveRealInterrupt(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		drvs := realBuilds(t, d)
		before := len(d.Processes())
		b := &scriptedBuild{t: t, socket: d.Socket}
		term := b.onTerminal(80, 24, nil, "pix", "build", "-j", "2", string(drvs["top"])+"^out")
		waitForLinesInAnyOrder(t, term,
			"○ top waits for 2",
			"├─ ● good Ns",
			"└─ ○ mid waits for 1",
			"   └─ ● bad Ns  trying",
			"2 running · 0 of 4 built · Ns · 2 waiting")
		term.Type("\x03")
		if status := exitStatus(term.Wait()); status != exitInterrupted {
			t.Errorf("exit status %d", status)
		}
		waitForLines(t, term, "interrupted: 0 of 4 built, 2 stopped, 2 not started in Ns", "pix: interrupted")
		checkTerminal(t, term)
		for deadline := time.Now().Add(time.Minute); len(d.Processes()) > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d processes remain, there were %d before", len(d.Processes()), before)
			}
		}
	})
}

// waitForLinesInAnyOrder waits until the terminal shows these lines, in any order and with any tree drawing before
// them, because daemons start builds in different orders.
func waitForLinesInAnyOrder(t *testing.T, term *termtest.Terminal, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = screenLines(term)
		if slices.Equal(sortedWithoutDrawing(got), sortedWithoutDrawing(want)) {
			return
		}
	}
	t.Fatalf("the terminal shows\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

func sortedWithoutDrawing(lines []string) []string {
	plain := make([]string, len(lines))
	for i, l := range lines {
		plain[i] = drawing.ReplaceAllString(l, "")
	}
	slices.Sort(plain)
	return plain
}

var drawing = regexp.MustCompile(`^[ │├└─]+`)

// screenLines returns the lines of a terminal, with each number of seconds replaced by Ns.
func screenLines(term *termtest.Terminal) (lines []string) {
	term.Look(func(s *termtest.Screen) { lines = s.Lines() })
	for i := range lines {
		lines[i] = seconds.ReplaceAllString(lines[i], "${1}Ns")
	}
	return lines
}
