package localstore

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/store"
	"pix/storepath"
)

// ExplainLiveness returns a chain of true steps for every live path, and nil for garbage.
func TestExplainLiveness(t *testing.T) {
	w := newGCWorld(t, "sid")
	w.root(t, "c", "loose.drv")
	for _, keep := range [][2]bool{{false, true}, {true, true}, {true, false}, {false, false}} {
		s := w.open(t, keep[0], keep[1])
		live, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnLive, MaxFreed: math.MaxUint64})
		if err != nil {
			t.Fatal(err)
		}
		paths, err := s.QueryAllValidPaths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			l, err := s.ExplainLiveness(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if lives := slices.Contains(live.Paths, string(p)); lives != (l != nil) {
				t.Errorf("keep %v: %s is live: %v, explained by %v", keep, p, lives, l)
			}
			if l != nil {
				w.checkLiveness(t, s, p, l)
			}
		}
	}

	s := w.open(t, false, true)
	l, err := s.ExplainLiveness(t.Context(), w.paths["b.drv"])
	want := []store.LivenessStep{
		{Path: w.paths["loose.drv"]},
		{Path: w.paths["c.drv"], Needed: store.LiveReference},
		{Path: w.paths["b.drv"], Needed: store.LiveReference},
	}
	other := []store.LivenessStep{
		{Path: w.paths["c"]},
		{Path: w.paths["c.drv"], Needed: store.LiveDeriver},
		{Path: w.paths["b.drv"], Needed: store.LiveReference},
	}
	if err != nil || !slices.Equal(l.Chain, want) && !slices.Equal(l.Chain, other) || filepath.Dir(l.Root.Link) != w.l.gcRoots() {
		t.Errorf("the explanation of b.drv is %v, %v", l, err)
	}
	if _, err := s.ExplainLiveness(t.Context(), somePath(t, 99)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
}

func (w *gcWorld) checkLiveness(t *testing.T, s *Store, path storepath.Path, l *store.Liveness) {
	t.Helper()
	if target, err := os.Readlink(l.Root.Link); err != nil || target != string(l.Chain[0].Path) || l.Root.Path != l.Chain[0].Path {
		t.Errorf("the root of %v points to %q, %v", l, target, err)
	}
	if last := l.Chain[len(l.Chain)-1].Path; last != path {
		t.Errorf("the explanation of %s is a chain to %s", path, last)
	}
	for i, step := range l.Chain[1:] {
		before := l.Chain[i].Path
		info, err := s.QueryPathInfo(t.Context(), before)
		if err != nil {
			t.Fatal(err)
		}
		holds := false
		switch step.Needed {
		case store.LiveReference:
			holds = slices.Contains(info.References, step.Path)
		case store.LiveDeriver:
			holds = info.Deriver == step.Path
		case store.LiveOutput:
			outputs, err := s.QueryDerivationOutputMap(t.Context(), before)
			if err != nil {
				t.Fatal(err)
			}
			for _, output := range outputs {
				holds = holds || output == step.Path
			}
		}
		if !holds {
			t.Errorf("%s does not need %s (%s)", before, step.Path, step.Needed)
		}
	}
}

// Outputs of a content-addressed derivation, which follow only from its realisations, are kept too.
func TestKeepRealisedOutputs(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), &realnix.Options{Config: map[string]string{"experimental-features": "nix-command ca-derivations"}})
	l := rootLayout(t, d.HostPath("/"))
	expression := `derivation { name = "floating"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo floating > $out" ];
		__contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; }`
	drv, err := storepath.Parse(strings.TrimSpace(runLocal(t, d, "nix-instantiate", "--expr", expression)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := storepath.Parse(strings.TrimSpace(runLocal(t, d, "nix-store", "--realise", string(drv))))
	if err != nil {
		t.Fatal(err)
	}
	rootTo(t, l, "drv", drv)
	s := open(t, Options{Root: d.HostPath("/"), KeepOutputs: true})
	why, err := s.ExplainLiveness(t.Context(), out)
	want := []store.LivenessStep{{Path: drv}, {Path: out, Needed: store.LiveOutput}}
	if err != nil || why == nil || !slices.Equal(why.Chain, want) {
		t.Errorf("the explanation of the output is %v, %v", why, err)
	}
	without := open(t, Options{Root: d.HostPath("/")})
	if _, err := without.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}); err != nil {
		t.Fatal(err)
	}
	if exists(t, l, out) || !exists(t, l, drv) {
		t.Error("a dead output was kept")
	}
	// The realisation was deleted with the path.
	if outputs, err := s.QueryDerivationOutputMap(t.Context(), drv); err != nil || outputs["out"] != "" {
		t.Errorf("outputs %v, %v", outputs, err)
	}
	if _, stderr, err := tryLocal(t, d, "nix-store", "--verify", "--check-contents"); err != nil {
		t.Errorf("nix-store --verify: %v\n%s", err, stderr)
	}
}
