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

// addGraph adds n texts that refer to up to five random texts before them, with the same random numbers each time. The root
// refers to all texts that no other text refers to.
func addGraph(t testing.TB, d *realnix.Daemon, n int) (root storepath.Path, all []storepath.Path) {
	t.Helper()
	c, err := daemon.Dial(t.Context(), d.Socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(1, 2))
	unreferenced := make(map[storepath.Path]bool)
	add := func(refs []storepath.Path) storepath.Path {
		slices.Sort(refs)
		refs = slices.Compact(refs)
		path, err := c.AddTextToStore(t.Context(), fmt.Sprintf("node-%d", len(all)), fmt.Sprint(refs), refs)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range refs {
			delete(unreferenced, ref)
		}
		unreferenced[path] = true
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
	return add(slices.Collect(maps.Keys(unreferenced))), all
}

// pix prints trees and exports paths in the same order as Nix.
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
		if s.Name == "bullseye" { // Nix 2.3 draws trees in ASCII
			tree = strings.NewReplacer("├───", "+---", "└───", "+---", "│", "|").Replace(tree)
		}
		compareText(t, "tree", tree, d.MustRun(t, "nix-store", "--query", "--tree", string(root)))
		args := []string{"nix-store", "--export"}
		for _, p := range all {
			args = append(args, string(p))
		}
		compareText(t, "export", pix("export", "--closure", string(root)), d.MustRun(t, args...))
	})
}

func compareText(t *testing.T, name, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Errorf("%s: line %d is\n%q, Nix has\n%q", name, i+1, g[i], w[min(i, len(w)-1)])
			return
		}
	}
	t.Errorf("%s: %d lines, Nix has %d", name, len(g), len(w))
}
