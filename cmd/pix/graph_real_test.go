package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pix/daemon"
	"pix/internal/realnix"
	"pix/storepath"
)

// addGraph adds n texts, each of which refers to up to five of those before it, always the same
// ones, and returns the one that refers to all that nothing else refers to.
func addGraph(t testing.TB, d *realnix.Daemon, n int) (root storepath.Path, all []storepath.Path) {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(1, 2))
	alone := make(map[storepath.Path]bool)
	add := func(refs []storepath.Path) storepath.Path {
		slices.Sort(refs)
		refs = slices.Compact(refs)
		path, err := c.AddTextToStore(t.Context(), fmt.Sprintf("node-%d", len(all)), fmt.Sprint(refs), refs)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range refs {
			delete(alone, ref)
		}
		alone[path] = true
		all = append(all, path)
		return path
	}
	for i := range n {
		var refs []storepath.Path
		if i > 0 {
			for range random.IntN(6) {
				refs = append(refs, all[max(0, i-1-random.IntN(20))])
			}
		}
		add(refs)
	}
	return add(slices.Collect(maps.Keys(alone))), all
}

// The orders in which Nix prints trees and exports paths follow from the graph; those of pix
// are the same.
func TestRealOrders(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		root, all := addGraph(t, d, 150)
		pix := func(args ...string) string {
			t.Helper()
			out, err := exec.Command("pix", append([]string{"--store", "unix://" + d.Socket}, args...)...).Output()
			if err != nil {
				t.Fatal(err, string(err.(*exec.ExitError).Stderr))
			}
			return string(out)
		}
		tree := pix("tree", string(root))
		if s.Name == "bullseye" { // which draws it in another way
			tree = strings.NewReplacer("├───", "+---", "└───", "+---", "│", "|").Replace(tree)
		}
		sameText(t, "tree", tree, d.MustRun(t, "nix-store", "--query", "--tree", string(root)))
		args := []string{"nix-store", "--export"}
		for _, p := range all {
			args = append(args, string(p))
		}
		sameText(t, "export", pix("export", "--closure", string(root)), d.MustRun(t, args...))
	})
}

func sameText(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Errorf("%s: line %d is\n%q, Nix has\n%q", what, i+1, g[i], w[min(i, len(w)-1)])
			return
		}
	}
	t.Errorf("%s: %d lines, Nix has %d", what, len(g), len(w))
}
