package main

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
)

// pix finds the same facts about closures as Nix 2.34.
func TestRealClosureFacts(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	root, all := addGraph(t, d, 60)
	pix := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("pix", append(args, "--store", "unix://"+d.Socket)...).Output()
		if err != nil {
			t.Fatal(err, string(err.(*exec.ExitError).Stderr))
		}
		return string(out)
	}
	leaf := all[len(all)/2]
	d.MustRun(t, "nix-store", "--realise", "--add-root", "/tmp/links/root", "--indirect", string(root))
	d.MustRun(t, "nix-store", "--realise", "--add-root", "/tmp/links/leaf", "--indirect", string(leaf))

	// Nix writes the nodes of a graph in another order.
	compareText(t, "graphml", sortedLines(pix("graph", "--graphml", string(root))), sortedLines(d.MustRun(t, "nix-store", "--query", "--graphml", string(root))))
	for _, path := range []string{string(root), string(leaf), string(all[0])} {
		compareText(t, "roots of "+path, withoutProcesses(pix("roots", path)), withoutProcesses(d.MustRun(t, "nix-store", "--query", "--roots", path)))
	}
	compareText(t, "sizes", columns(pix("path-info", "-rsS", string(root))), columns(d.MustRun(t, "nix", "--extra-experimental-features", "nix-command", "path-info", "-rsS", string(root))))

	// The table has the sizes that path-info -sS prints, which are compared with Nix above.
	human := make(map[string]string)
	for line := range strings.Lines(pix("path-info", "-rsSh", string(root))) {
		words := strings.Fields(line)
		human[words[0]] = strings.Join(words[1:], " ")
	}
	table := strings.Split(strings.TrimSpace(pix("path-info", "-r", "--table", string(root))), "\n")[1:]
	for _, line := range table {
		words := strings.Fields(line)
		if path := words[len(words)-1]; human[path] != strings.Join(words[:4], " ") {
			t.Errorf("the table has %q, path-info -sSh has %q", line, human[path])
		}
	}
	if len(table) != len(human) || !strings.HasSuffix(table[0], string(root)) {
		t.Errorf("the table of %d paths has %d lines: %q", len(human), len(table), table[0])
	}

	// The levels of a reverse tree are the referrers that Nix reports.
	tree := pix("tree", "--reverse", string(all[0]))
	found := make(map[string]bool)
	for _, line := range strings.Fields(tree) {
		if at := strings.Index(line, "/nix/store/"); at >= 0 {
			found[line[at:]] = true
		}
	}
	got := strings.Join(slices.Sorted(maps.Keys(found)), "\n") + "\n"
	compareText(t, "referrers", got, sortedLines(d.MustRun(t, "nix-store", "--query", "--referrers-closure", string(all[0]))))
}

func sortedLines(text string) string { return strings.Join(slices.Sorted(strings.Lines(text)), "") }

// withoutProcesses removes the roots of running processes and of temporary roots, which differ from call to call.
func withoutProcesses(roots string) string {
	var b strings.Builder
	for _, line := range slices.Sorted(strings.Lines(roots)) {
		if strings.HasPrefix(line, "/tmp/") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// columns returns the sorted lines with one space between columns.
func columns(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " ")+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
