package localstore

import (
	"fmt"
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

// gcExpression makes derivations that need each other in all ways: z refers to itself and has
// two outputs, b's builder needs a, and c's output refers to b's.
const gcExpression = `
let
  mk = name: more: text: derivation ({
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" text ];
  } // more);
in rec {
  source = builtins.toFile "source" "source";
  a = mk "a" { inherit source; } "echo $source > $out";
  b = mk "b" { inherit a; } "echo b > $out";
  c = mk "c" { inherit b; } "/bin/mkdir $out $out/sub; echo $b > $out/sub/file; echo same > $out/same; echo same > $out/sub/same";
  z = mk "z" { outputs = [ "out" "dev" ]; inherit a; } "echo $out > $out; echo $out > $dev";
  loose = mk "loose" { inherit c; } "echo loose > $out";
}`

// A gcWorld is a store with much in it, and names for some of its paths.
type gcWorld struct {
	d     *realnix.Daemon
	l     layout
	paths map[string]storepath.Path
}

func newGCWorld(t *testing.T, suite string) *gcWorld {
	t.Helper()
	d := realnix.Start(t, realnix.Get(t, suite), &realnix.Options{Config: map[string]string{"auto-optimise-store": "true"}})
	w := &gcWorld{d: d, l: rootLayout(t, d.HostPath("/")), paths: make(map[string]storepath.Path)}
	if err := os.WriteFile(d.HostPath("/tmp/default.nix"), []byte(gcExpression), 0o644); err != nil {
		t.Fatal(err)
	}
	set := func(name, path string) {
		p, err := storepath.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		w.paths[name] = p
	}
	for _, attr := range []string{"a", "b", "c", "z", "loose"} {
		set(attr+".drv", strings.TrimSpace(runLocal(t, d, "nix-instantiate", "/tmp/default.nix", "-A", attr)))
		for _, line := range strings.Fields(runLocal(t, d, "nix-store", "--realise", string(w.paths[attr+".drv"]))) {
			p, err := storepath.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			w.paths[p.Name()] = p
		}
	}
	for _, name := range []string{"one", "two", "dead"} {
		w.paths[name] = addFile(t, d, name, strings.Repeat(name, 1000))
	}

	// What is not valid: remains of objects, lock files, and what nobody knows.
	for i, name := range []string{somePath(t, 1).Base(), somePath(t, 2).Base() + ".lock", w.paths["one"].Base() + ".lock", w.paths["dead"].Base() + ".chroot", "foo", ".tmp-link-1-2"} {
		if err := os.WriteFile(filepath.Join(w.l.storeDir, name), make([]byte, 100*(i+1)), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{somePath(t, 3).Base() + "/sub", "tmp-1-2/sub", "tmp-3-4"} {
		if err := os.MkdirAll(filepath.Join(w.l.storeDir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", filepath.Join(w.l.storeDir, somePath(t, 3).Base(), "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.l.storeDir, somePath(t, 3).Base()), 0o555); err != nil {
		t.Fatal(err)
	}
	return w
}

// root makes the named paths roots.
func (w *gcWorld) root(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if w.paths[name] == "" {
			t.Fatalf("there is no %s", name)
		}
		if err := os.Symlink(string(w.paths[name]), filepath.Join(w.l.gcRoots(), name)); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *gcWorld) open(t *testing.T, outputs, derivations bool) *Store {
	t.Helper()
	return open(t, Options{Root: w.d.HostPath("/"), KeepOutputs: outputs, DropDerivers: !derivations})
}

// entries returns what lies in the store directory.
func (w *gcWorld) entries(t *testing.T) []string {
	t.Helper()
	names, err := os.ReadDir(w.l.storeDir)
	if err != nil {
		t.Fatal(err)
	}
	links, err := os.ReadDir(w.l.links())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range names {
		all = append(all, e.Name())
	}
	for _, e := range links {
		all = append(all, ".links/"+e.Name())
	}
	return all
}

// check lets Nix look for errors in the store.
func (w *gcWorld) check(t *testing.T) {
	t.Helper()
	if _, stderr, err := tryLocal(t, w.d, "nix-store", "--verify", "--check-contents"); err != nil || strings.Contains(stderr, "disappeared") {
		t.Errorf("nix-store --verify: %v\n%s", err, stderr)
	}
}

func sortedFields(text string) []string {
	fields := strings.Fields(text)
	slices.Sort(fields)
	return fields
}

func keepFlags(outputs, derivations bool) []string {
	return []string{"--option", "keep-outputs", fmt.Sprint(outputs), "--option", "keep-derivations", fmt.Sprint(derivations)}
}

// Nix and we agree on what is live, with all settings, and delete the same.
func TestCollectReal(t *testing.T) {
	for _, suite := range sharedSuites {
		for _, keep := range [][2]bool{{false, true}, {true, true}, {true, false}, {false, false}} {
			t.Run(fmt.Sprintf("%s/outputs=%v,derivations=%v", suite, keep[0], keep[1]), func(t *testing.T) {
				ours, theirs := newGCWorld(t, suite), newGCWorld(t, suite)
				flags := keepFlags(keep[0], keep[1])
				for _, w := range []*gcWorld{ours, theirs} {
					w.root(t, "c", "z-dev", "loose.drv")
				}
				s := ours.open(t, keep[0], keep[1])
				// A temporary root keeps the lock file beside it.
				mustAdd(t, newTempRoots(t, theirs.l), theirs.paths["one"], somePath(t, 1))
				for _, p := range []storepath.Path{ours.paths["one"], somePath(t, 1)} {
					if err := s.AddTempRoot(t.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
				entries := ours.entries(t)
				if got := theirs.entries(t); !slices.Equal(got, entries) {
					t.Fatalf("the two stores differ:\n%q\n%q", entries, got)
				}

				live, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnLive, MaxFreed: math.MaxUint64})
				if err != nil {
					t.Fatal(err)
				}
				dead, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCReturnDead, MaxFreed: math.MaxUint64})
				if err != nil {
					t.Fatal(err)
				}
				if got := ours.entries(t); !slices.Equal(got, entries) {
					t.Fatalf("asking changed the store:\n%q\n%q", entries, got)
				}
				result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(result.Paths, dead.Paths) {
					t.Errorf("deleted %q\nand not    %q", result.Paths, dead.Paths)
				}

				wantDead := sortedFields(runLocal(t, theirs.d, append([]string{"nix-store", "--gc", "--print-dead"}, flags...)...))
				if got := dead.Paths; !slices.Equal(got, wantDead) {
					t.Errorf("dead %q\nwant %q", got, wantDead)
				}
				wantLive := sortedFields(runLocal(t, theirs.d, append([]string{"nix-store", "--gc", "--print-live"}, flags...)...))
				if got := live.Paths; !slices.Equal(got, wantLive) {
					t.Errorf("live %q\nwant %q", got, wantLive)
				}
				stdout, stderr, err := tryLocal(t, theirs.d, append([]string{"nix-store", "--gc"}, flags...)...)
				if err != nil {
					t.Fatal(err, stderr)
				}
				// Asked what is dead, Nix deleted four things of 1100 bytes.
				says := fmt.Sprintf("%d store paths deleted, %s freed\n", len(result.Paths)-4, renderSize(int64(result.BytesFreed)-1100))
				if suite == "sid" && stdout != says {
					t.Errorf("Nix says %q, want %q", stdout, says)
				}
				if got, want := ours.entries(t), theirs.entries(t); !slices.Equal(got, want) {
					t.Errorf("left %q\nwant %q", got, want)
				}
				ours.check(t)
			})
		}
	}
}
