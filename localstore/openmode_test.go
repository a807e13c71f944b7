package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pix/storepath"
)

// fileTimes returns the names of all files below a directory, with modes and times.
func fileTimes(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		lines = append(lines, strings.Join([]string{name, info.Mode().String(), info.ModTime().String()}, " "))
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return lines
}

// copyDatabase creates a store that contains only a copy of a closed database.
func copyDatabase(t *testing.T, from *Store) (root string) {
	t.Helper()
	root = t.TempDir()
	contents, err := os.ReadFile(from.databaseFile())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "nix/var/nix/db")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "db.sqlite"), contents, 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// A database without other files can be read, and reading it creates none.
func TestReadDatabaseAlone(t *testing.T) {
	for _, noWAL := range []bool{false, true} {
		s, err := Open(t.Context(), &Options{Root: t.TempDir(), NoWAL: noWAL})
		if err != nil {
			t.Fatal(err)
		}
		paths := addTexts(t, s, 3, false)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		root := copyDatabase(t, s)
		before := fileTimes(t, root)
		for range 2 {
			r, err := Open(t.Context(), &Options{Root: root, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.QueryAllValidPaths(t.Context())
			if err != nil || !slices.Equal(got, slices.Sorted(slices.Values(paths))) {
				t.Errorf("paths %q, %v, want %q", got, err, paths)
			}
			if _, err := r.QueryPathInfo(t.Context(), paths[0]); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if after := fileTimes(t, root); !slices.Equal(before, after) {
			t.Errorf("without WAL %v: reading changed files:\n%s\nto\n%s", noWAL, strings.Join(before, "\n"), strings.Join(after, "\n"))
		}
	}
}

// A store that is read without locks is read with locks as soon as a process writes to it.
func TestReadAloneBesideWriter(t *testing.T) {
	s, err := Open(t.Context(), &Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	addTexts(t, s, 3, false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	root := copyDatabase(t, s)
	r := open(t, Options{Root: root, ReadOnly: true})
	if !r.db.IsImmutable() {
		t.Fatal("the store is read with locks")
	}
	w := open(t, Options{Root: root})
	for i, name := range []string{"one", "two", "three"} {
		path, err := w.AddTextToStore(t.Context(), name, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if valid, err := r.IsValidPath(t.Context(), path); err != nil || !valid {
			t.Errorf("path %d is not valid for the reader: %v", i, err)
		}
	}
	if r.db.IsImmutable() {
		t.Error("the store is still read without locks")
	}
}

// Only adding an object creates a store.
func TestNoCreate(t *testing.T) {
	root := filepath.Join(t.TempDir(), "typo")
	for _, opts := range []Options{{Root: root, NoCreate: true}, {Root: root, ReadOnly: true}} {
		s, err := Open(t.Context(), &opts)
		var none *NoStoreError
		if !errors.As(err, &none) || !errors.Is(err, fs.ErrNotExist) || none.Info.StoreDir != filepath.Join(root, "nix/store") {
			t.Errorf("%+v: %v, want a NoStoreError", opts, err)
			if err == nil {
				s.Close()
			}
		}
		if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: files were created", opts)
		}
	}
	s := open(t, Options{Root: root})
	addTexts(t, s, 1, false)
	again := open(t, Options{Root: root, NoCreate: true})
	addTexts(t, again, 2, false)
}

// journalOf returns the journal mode of a database on disk.
func journalOf(t *testing.T, s *Store) string {
	t.Helper()
	contents, err := os.ReadFile(s.databaseFile())
	if err != nil {
		t.Fatal(err)
	}
	return map[byte]string{1: "rollback", 2: "wal"}[contents[19]]
}

// The setting determines the journal mode, whatever it was before, and a reader does not change it.
func TestJournalMode(t *testing.T) {
	root := t.TempDir()
	var all []storepath.Path
	for i, noWAL := range []bool{true, false, true, true} {
		s, err := Open(t.Context(), &Options{Root: root, NoWAL: noWAL})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range addTexts(t, s, 2*(i+1), false) {
			if !slices.Contains(all, path) {
				all = append(all, path)
			}
		}
		checkSound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "rollback", false: "wal"}[noWAL]
		if got := journalOf(t, s); got != want {
			t.Errorf("%d: the journal is %s, want %s", i, got, want)
		}
		for _, suffix := range []string{"-wal", "-shm", "-journal", ".lock"} {
			info, err := os.Stat(s.databaseFile() + suffix)
			if noWAL && err == nil && (suffix != "-journal" || info.Size() > 0) {
				t.Errorf("%d: %s was not deleted", i, suffix)
			}
		}
		for _, readNoWAL := range []bool{true, false} {
			r, err := Open(t.Context(), &Options{Root: root, NoWAL: readNoWAL, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.QueryAllValidPaths(t.Context()); err != nil || len(got) != len(all) {
				t.Errorf("%d: %d paths, %v, want %d", i, len(got), err, len(all))
			}
			r.Close()
			if got := journalOf(t, s); got != want {
				t.Errorf("%d: after reading, the journal is %s, want %s", i, got, want)
			}
		}
	}
}

// The index of a write-ahead log that the database does not use does not show changes.
func TestForeignWALIndex(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root, NoWAL: true})
	path := addTexts(t, s, 1, false)[0]
	if err := os.WriteFile(s.databaseFile()+"-shm", make([]byte, 32<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Root: root, NoWAL: true, ReadOnly: true})
	if _, err := r.QueryPathInfo(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if err := s.invalidatePath(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := r.QueryPathInfo(t.Context(), path); err == nil {
		t.Error("a deleted path is still valid")
	}
}
