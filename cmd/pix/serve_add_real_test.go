package main

import (
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/signature"
)

// After a Nix has copied a path through a server with --upstream-add, the store of the server has the closure as the upstream cache
// has it, and serves it alone.
func TestRealServeUpstreamAdd(t *testing.T) {
	key, err := signature.GenerateKey("matrix-1")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NIX_CONFIG", "trusted-public-keys = "+key.Public().String())
	testenv.NoLeak(t)
	w := newMatrixWorld(t, realnix.Get(t, "trixie"), key)
	c, root := w.stockClient(), t.TempDir()
	s := startServe(t, 1, "--listen", "127.0.0.1:0", "--store", root, "--upstream", w.served, "--upstream-add", "--log-requests")
	first := w.newDir()
	c.mustRun(t, c.copyFrom("http://"+s.addresses[0], c.path(first)))
	for line := range s.lines { // ends without the line if the server ends
		if strings.HasPrefix(line, "pix: adding '"+string(w.top)+"'") {
			break
		}
	}
	if rest := s.stop(t); strings.Contains(rest, "error") {
		t.Errorf("the server prints:\n%s", rest)
	}
	query := []string{"path-info", "-rsS", "--sigs", string(w.top), "--store"}
	got, want := pixOutput(t, append(slices.Clone(query), root)...), pixOutput(t, append(query, w.served)...)
	if got != want || !strings.Contains(got, "matrix-1:") || strings.Count(got, "\n") != 1 { // two paths: pixOutput removes the last newline
		t.Errorf("the store has\n%s\nwant\n%s", got, want)
	}
	second := w.newDir()
	c.mustRun(t, c.copyFrom(w.serve(t, "--store", root), c.path(second)))
	compare(t, c, "copy", "added", w.describeDownload(t, second), w.describeDownload(t, first))
}
