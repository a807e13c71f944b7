package main

import (
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/internal/realnix"
	"pix/store"
)

// registered registers derivations, and checks that the store has all of them. It returns the path of the last one.
func registered(t *testing.T, s store.Store, n int) string {
	t.Helper()
	last, err := register(t.Context(), s, n)
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.AllValidPaths(t.Context(), s)
	if err != nil || len(all) != n {
		t.Errorf("the store has %d paths, %v, want %d", len(all), err, n)
	}
	return string(last)
}

func TestRegister(t *testing.T) {
	d := daemontest.New(t, nil)
	pool, err := daemon.Open(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	first := registered(t, pool, 200)
	if again := registered(t, pool, 200); again != first {
		t.Errorf("the second time the path is %s, the first time %s", again, first)
	}
}

// Every version of Nix accepts the derivations, and computes the same output paths.
func TestRealRegister(t *testing.T) {
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		pool, err := daemon.Open(t.Context(), daemon.Unix{Path: d.Socket}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		last := registered(t, pool, 60)
		out := strings.TrimSpace(d.MustRun(t, "nix-store", "--query", "--outputs", last))
		if !strings.HasSuffix(out, "-package-59") {
			t.Errorf("Nix has the output %q", out)
		}
		d.MustRun(t, "nix-store", "--verify", "--check-contents")
	})
}
