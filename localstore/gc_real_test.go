package localstore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/sizes"
	"pix/store"
	"pix/storepath"
)

// gcExpression makes derivations with every kind of dependency: z refers to itself and has two outputs, the builder of
// b needs a, and the output of c refers to the output of b.
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

// A gcWorld is a store with many kinds of paths, and names for some of them.
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
	attrs := []string{"a", "b", "c", "z", "loose"}
	instantiate, realise := []string{"nix-instantiate", "/tmp/default.nix"}, []string{"nix-store", "--realise"}
	for _, attr := range attrs {
		instantiate = append(instantiate, "-A", attr)
	}
	add := []string{"nix-store", "--add"}
	for _, name := range []string{"one", "two", "dead"} {
		if err := os.WriteFile(d.HostPath("/tmp/"+name), []byte(strings.Repeat(name, 1000)), 0o644); err != nil {
			t.Fatal(err)
		}
		add = append(add, "/tmp/"+name)
	}
	drvs := strings.Fields(runLocal(t, d, instantiate...))
	for _, line := range slices.Concat(drvs, strings.Fields(runLocal(t, d, append(realise, drvs...)...)), strings.Fields(runLocal(t, d, add...))) {
		p, err := storepath.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		w.paths[p.Name()] = p
	}

	// Files that belong to no valid path: remains of objects, lock files, and unknown files.
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
			t.Fatalf("%s does not exist", name)
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

// entries returns the names in the store directory.
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

// check lets Nix verify the store.
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

// A gcTwin is a pair of stores with the same contents: pix collects in one, and Nix in the other.
type gcTwin struct {
	suite        string
	ours, theirs *gcWorld
}

func newGCTwin(t *testing.T, suite string, roots ...string) *gcTwin {
	t.Helper()
	w := &gcTwin{suite, newGCWorld(t, suite), newGCWorld(t, suite)}
	w.ours.root(t, roots...)
	w.theirs.root(t, roots...)
	w.compare(t)
	return w
}

// compare fails if the two stores do not contain the same files.
func (w *gcTwin) compare(t *testing.T) {
	t.Helper()
	if got, want := w.ours.entries(t), w.theirs.entries(t); !slices.Equal(got, want) {
		t.Errorf("the directory has %q\nwant              %q", got, want)
	}
}

// A temporary root also keeps the files beside the path.
func (w *gcTwin) tempRoot(t *testing.T, s *Store, paths ...storepath.Path) {
	t.Helper()
	addRoots(t, newTempRoots(t, w.theirs.l), paths...)
	for _, p := range paths {
		if err := s.AddTempRoot(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

// Nix and pix agree on which paths are live, with all settings, and delete the same paths.
func TestCollectReal(t *testing.T) {
	for _, suite := range sharedSuites {
		t.Run(suite, func(t *testing.T) {
			w := newGCTwin(t, suite, "c", "z-dev", "loose.drv")
			w.tempRoot(t, w.ours.open(t, true, true), w.ours.paths["one"], somePath(t, 1))
			garbage := 4 // even when it lists dead paths, Nix deletes files without the name of a store path, of 1100 bytes here
			for _, keep := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, false}} {
				w.collect(t, keep[0], keep[1], garbage)
				garbage = 0
			}
			w.ours.check(t)
		})
	}
}

func (w *gcTwin) collect(t *testing.T, outputs, derivations bool, garbage int) {
	t.Helper()
	entries := w.ours.entries(t)
	s := w.ours.open(t, outputs, derivations)
	collect := func(action store.GCAction) *store.GCResult {
		result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: action, MaxFreed: math.MaxUint64})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	live, dead := collect(store.GCReturnLive), collect(store.GCReturnDead)
	if got := w.ours.entries(t); !slices.Equal(got, entries) {
		t.Fatalf("a query changed the store:\n%q\n%q", entries, got)
	}
	result := collect(store.GCDeleteDead)
	if !slices.Equal(result.Paths, dead.Paths) {
		t.Errorf("deleted %q\ninstead of %q", result.Paths, dead.Paths)
	}

	nix := func(flag ...string) string {
		flags := []string{"nix-store", "--gc", "--option", "keep-outputs", fmt.Sprint(outputs), "--option", "keep-derivations", fmt.Sprint(derivations)}
		return runLocal(t, w.theirs.d, append(flags, flag...)...)
	}
	if want := sortedFields(nix("--print-dead")); !slices.Equal(dead.Paths, want) {
		t.Errorf("dead %q\nwant %q", dead.Paths, want)
	}
	if want := sortedFields(nix("--print-live")); !slices.Equal(live.Paths, want) {
		t.Errorf("live %q\nwant %q", live.Paths, want)
	}
	freed := int64(result.BytesFreed)
	if garbage > 0 {
		freed -= 1100
	}
	says, want := fmt.Sprintf("%d store paths deleted, %s freed\n", len(result.Paths)-garbage, sizes.Spell(freed)), nix()
	if w.suite == "sid" && says != want {
		t.Errorf("pix logs %q, Nix %q", says, want)
	}
	w.compare(t)
}

// Given paths are deleted under the same conditions as by Nix, and the errors are the same.
func TestDeleteReal(t *testing.T) {
	for _, suite := range sharedSuites {
		t.Run(suite, func(t *testing.T) {
			w := newGCTwin(t, suite, "c")
			w.ours.paths["missing"] = somePath(t, 77)
			s := w.ours.open(t, false, true)
			w.tempRoot(t, s, w.ours.paths["one"])
			for _, test := range []struct {
				delete string // names
				ignore bool   // liveness
			}{
				{"a.drv", false}, // another path refers to it
				{"c", false},     // a root
				{"dead c one", false},
				{"missing", false},
				{"one", true}, // a temporary root
				{"z-dev", true},
				{"two", false},
				{"b.drv a.drv loose.drv c.drv z.drv loose b c a z-dev z", false},
				{"loose.drv loose", false},
				{"z z-dev", false},
				{"b", true},
				{"c", true},
				{"c.drv b.drv", false},
			} {
				w.delete(t, s, test.delete, test.ignore)
			}
			w.ours.check(t)
		})
	}
}

func (w *gcTwin) delete(t *testing.T, s *Store, names string, ignore bool) {
	t.Helper()
	opts := store.GCOptions{Action: store.GCDeleteSpecific, MaxFreed: math.MaxUint64, IgnoreLiveness: ignore}
	args := []string{"nix-store", "--delete"}
	if ignore {
		args = append(args, "--ignore-liveness")
	}
	for _, name := range strings.Fields(names) {
		opts.Paths = append(opts.Paths, w.ours.paths[name])
		args = append(args, string(w.ours.paths[name]))
	}
	result, err := s.CollectGarbage(t.Context(), opts)
	stdout, stderr, wantErr := tryLocal(t, w.theirs.d, args...)
	switch {
	case (err == nil) != (wantErr == nil):
		t.Errorf("%s: error %v, want %v %s", names, err, wantErr, stderr)
	case err != nil:
		words, _, _ := strings.Cut(err.Error(), ": nix-store --query --roots") // Nix 2.8 stops here
		if w.suite == "sid" {
			words = err.Error()
		}
		if !errors.As(err, new(*AliveError)) || !strings.Contains(stderr, words) {
			t.Errorf("%s: error %v\nwant %s", names, err, stderr)
		}
	default:
		if n, _, _ := strings.Cut(stdout, " "); n != fmt.Sprint(len(result.Paths)) {
			t.Errorf("%s: %d deleted, want %s%s", names, len(result.Paths), stdout, stderr)
		}
	}
	t.Logf("%s: %v", names, err)
	w.compare(t)
}

// A collection with a size limit deletes as many objects as Nix does.
func TestMaxFreedReal(t *testing.T) {
	d := realnix.Start(t, realnix.Get(t, "sid"), nil)
	l := rootLayout(t, d.HostPath("/"))
	for i := range 10 {
		addFile(t, d, fmt.Sprint("file", i), strings.Repeat(fmt.Sprint(i), 1000))
	}
	count := func() int {
		names, err := os.ReadDir(l.storeDir)
		if err != nil {
			t.Fatal(err)
		}
		return len(names) - 1
	}
	s := open(t, Options{Root: d.HostPath("/")})
	collect := func(action store.GCAction, maxFreed uint64) int {
		before := count()
		result, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: action, MaxFreed: maxFreed})
		if err != nil {
			t.Fatal(err)
		}
		if gone := before - count(); action == store.GCDeleteDead && gone != len(result.Paths) {
			t.Errorf("%d paths were deleted, and the result has %d", gone, len(result.Paths))
		}
		return len(result.Paths)
	}
	for _, test := range []struct {
		action   store.GCAction
		maxFreed uint64
		want     int
	}{
		{store.GCDeleteDead, 0, 0}, {store.GCReturnDead, 0, 0}, {store.GCReturnDead, 1, 10},
		{store.GCDeleteDead, 1, 1}, {store.GCDeleteDead, 999, 1}, {store.GCDeleteDead, 1000, 2},
	} {
		if got := collect(test.action, test.maxFreed); got != test.want {
			t.Errorf("%s up to %d: %d paths, want %d", test.action, test.maxFreed, got, test.want)
		}
	}
	for _, test := range []struct {
		maxFreed string
		want     int
	}{{"0", 0}, {"1", 1}, {"999", 1}, {"1000", 2}} {
		before := count()
		runLocal(t, d, "nix-store", "--gc", "--max-freed", test.maxFreed)
		if got := before - count(); got != test.want {
			t.Errorf("Nix, up to %s: %d paths, want %d", test.maxFreed, got, test.want)
		}
	}
}
