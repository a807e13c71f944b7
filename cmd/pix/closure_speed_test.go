package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pix/internal/realnix"
	"pix/storepath"
)

// Verbs that walk a closure are compared with nix-store --query --requisites of Nix 2.34, on the same daemon, in
// turn. With 1,000 paths the ratio is only logged, because other tests run at the same time; with PIX_LONG=1 10,000
// paths must take at most half the time. The shortest times are compared, because other load only makes them
// longer.
func TestRealClosureSpeed(t *testing.T) {
	const maxRatio = 0.5
	n, rounds, checked := 1000, 1, os.Getenv("PIX_LONG") == "1"
	if checked {
		n, rounds = 10_000, 5
	}
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	root := addLayers(t, d, n)
	want := d.MustRun(t, "nix-store", "--query", "--requisites", string(root))
	paths := strings.Fields(want)
	slices.Sort(paths)
	leaf, other := paths[0], paths[len(paths)-2]

	verbs := [][]string{
		{"closure", string(root)},
		{"tree", string(root)},
		{"why-depends", string(root), leaf},
		{"why-depends", "--all", string(root), leaf},
		{"diff", other, string(root)},
		{"graph", string(root)},
		{"path-info", "--closure", "--closure-size", string(root)},
		{"path-info", "--closure", "--table", string(root)},
		{"tree", "--sizes", string(root)},
	}
	ours := make([][]time.Duration, len(verbs))
	var theirs []time.Duration
	for range rounds {
		start := time.Now()
		d.MustRun(t, "nix-store", "--query", "--requisites", string(root))
		theirs = append(theirs, time.Since(start))
		for i, verb := range verbs {
			cmd := exec.Command("pix", append([]string{"--store", "unix://" + d.Socket}, verb...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			start := time.Now()
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s", verb[0], err, stderr.Bytes())
			}
			ours[i] = append(ours[i], time.Since(start))
			if verb[0] == "closure" && strings.Join(paths, "\n")+"\n" != stdout.String() {
				t.Error("the closure differs from the closure of Nix")
			}
		}
	}
	for i, verb := range verbs {
		ratio := slices.Min(ours[i]).Seconds() / slices.Min(theirs).Seconds()
		t.Logf("%d paths: %v: %v, Nix %v, ratio %.2f", len(paths), shortened(verb), slices.Min(ours[i]), slices.Min(theirs), ratio)
		if checked && ratio > maxRatio {
			t.Errorf("%v takes %.2f times as long as Nix", shortened(verb), ratio)
		}
	}
}

// shortened returns a command line with names instead of store paths.
func shortened(verb []string) string {
	words := slices.Clone(verb)
	for i, w := range words {
		if p, err := storepath.DefaultDir.Parse(w); err == nil {
			words[i] = p.Name()
		}
	}
	return strings.Join(words, " ")
}
