package profile

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A world is a profile in a new directory, and a store in memory.
type world struct {
	t     *testing.T
	store *memstore.Store
	dir   string
	*Profile
}

func newWorld(t *testing.T) *world {
	s := memstore.New(&memstore.Options{ReadLink: os.Readlink})
	dir := t.TempDir()
	p, err := New(s.Dir(), filepath.Join(dir, "profile"))
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, s, dir, p}
}

// path returns a valid path with a name.
func (w *world) path(name string) storepath.Path {
	w.t.Helper()
	p, err := store.AddText(w.t.Context(), w.store, name, name, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) set(name string) Generation {
	w.t.Helper()
	g, err := w.Set(w.t.Context(), w.store, w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// link creates a symlink in the directory.
func (w *world) link(target, name string) {
	w.t.Helper()
	os.Remove(filepath.Join(w.dir, name))
	if err := os.Symlink(target, filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

// age makes a generation some days old.
func (w *world) age(n uint64, days int) {
	w.t.Helper()
	ts := unix.NsecToTimespec(time.Now().Add(-time.Duration(days) * 24 * time.Hour).UnixNano())
	name := filepath.Join(w.dir, w.generationName(n))
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		w.t.Fatal(err)
	}
}

// numbers returns the numbers of the generations, with a star after the current one.
func numbers(all []Generation) string {
	var words []string
	for _, g := range all {
		word := strconv.FormatUint(g.Number, 10)
		if g.Current {
			word += "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// expect compares the generations.
func (w *world) expect(want string) {
	w.t.Helper()
	all, err := w.Generations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if got := numbers(all); got != want {
		w.t.Errorf("generations %s, want %s", got, want)
	}
}

// files returns the names in the directory, with the targets of symlinks.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if target, err := os.Readlink(filepath.Join(dir, name)); err == nil {
			name += " -> " + target
		}
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
