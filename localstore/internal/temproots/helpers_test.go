package temproots

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/storepath"
)

// somePath returns a store path that differs for each n.
func somePath(t testing.TB, n int) storepath.Path {
	t.Helper()
	p, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-test", n))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newState(t testing.TB) State {
	t.Helper()
	return State{Dir: t.TempDir(), Store: storepath.DefaultDir}
}

func newRoots(t testing.TB, s State) *Roots {
	t.Helper()
	r := Open(s)
	t.Cleanup(func() { closeRoots(t, r) })
	return r
}

func closeRoots(t testing.TB, r *Roots) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func addRoots(t testing.TB, r *Roots, paths ...storepath.Path) Held {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	held, err := r.Add(ctx, paths...)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// beginCollection takes gc.lock and listens, as a collector does.
func beginCollection(t testing.TB, s State) *Collector {
	t.Helper()
	c, err := NewCollector(t.Context(), s, func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func endCollection(t testing.TB, c *Collector) {
	t.Helper()
	if err := c.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// collect returns the roots that a collector finds, sorted. It fails the test if there is an error.
func collect(t testing.TB, s State) []string {
	t.Helper()
	c := beginCollection(t, s)
	defer endCollection(t, c)
	roots, err := c.Roots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range roots {
		paths = append(paths, string(r.Path))
	}
	slices.Sort(paths)
	return paths
}

// want checks that a collector finds exactly these roots.
func want(t testing.TB, s State, when string, paths ...storepath.Path) {
	t.Helper()
	var texts []string
	for _, p := range paths {
		texts = append(texts, string(p))
	}
	slices.Sort(texts)
	if got := collect(t, s); !slices.Equal(got, texts) {
		t.Errorf("%s a collector finds the roots %q, want %q", when, got, texts)
	}
}

// files returns the names of the files of roots.
func files(t testing.TB, s State) []string {
	t.Helper()
	entries, err := os.ReadDir(s.RootsDir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// ownFile returns the only file of roots.
func ownFile(t testing.TB, s State) string {
	t.Helper()
	names := files(t, s)
	if len(names) != 1 {
		t.Fatalf("the files are %q, want one", names)
	}
	return filepath.Join(s.RootsDir(), names[0])
}

// writeRoots creates a file with entries of roots. It locks the file in this mode until the test ends or close is
// called.
func writeRoots(t testing.TB, s State, name string, mode flock.Mode, roots ...storepath.Path) (f *os.File, close func()) {
	t.Helper()
	if err := os.MkdirAll(s.RootsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(s.RootsDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if mode != 0 {
		if locked, err := flock.Try(f, mode); !locked || err != nil {
			t.Fatal(locked, err)
		}
	}
	for _, p := range roots {
		if _, err := f.WriteString(string(p) + "\x00"); err != nil {
			t.Fatal(err)
		}
	}
	return f, func() { f.Close() }
}
