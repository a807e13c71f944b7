package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A root protects its path while its symlink exists. A file that is not a symlink into the
// store is not modified.
func TestAddRoot(t *testing.T) {
	s := memstore.New(&memstore.Options{ReadLink: os.Readlink})
	paths := chain(t, s, 2, 1)
	dir := t.TempDir()
	t.Chdir(dir)
	for _, p := range paths { // the second replaces the first
		err := store.InSession(t.Context(), s, func(s store.Store) error {
			link, err := store.AddRoot(t.Context(), s, "new/dir/../root", p)
			if link != filepath.Join(dir, "new/root") {
				t.Errorf("the link is %s", link)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink("new/root"); to != string(p) {
			t.Errorf("the link points to %s, %v", to, err)
		}
	}
	if left, err := os.ReadDir("new"); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	roots, err := store.Roots(t.Context(), s)
	if err != nil || len(roots) < 1 || roots[len(roots)-1].Path != paths[1] {
		t.Errorf("%v, %v", roots, err)
	}

	for name, make := range map[string]func() error{
		"file":   func() error { return os.WriteFile("file", nil, 0o666) },
		"dir":    func() error { return os.Mkdir("dir", 0o777) },
		"other":  func() error { return os.Symlink("/etc/passwd", "other") },
		"almost": func() error { return os.Symlink("/nix/storeroom", "almost") },
	} {
		if err := make(); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(name)
		var refused *store.RootLinkError
		if _, err := store.AddRoot(t.Context(), s, name, paths[0]); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(name); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s has changed", name)
		}
	}
	if _, err := store.AddRoot(t.Context(), s, "absent", absent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat("absent"); err == nil {
		t.Error("a root of an invalid path was created")
	}
}

// A root cannot be in the store directory, not even through a symlink to it.
func TestAddRootInStore(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	storeDir, err := storepath.ParseDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New(&memstore.Options{Dir: storeDir})
	path, err := s.AddTextToStore(t.Context(), "x", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.Symlink(dir, "hidden"); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"", dir + "/root", dir + "/a/root", "hidden/root"} {
		var refused *store.RootLinkError
		if _, err := store.AddRoot(t.Context(), s, link, path); !errors.As(err, &refused) {
			t.Errorf("%q: %v", link, err)
		}
	}
}

// rootless is a store that refuses roots.
type rootless struct{ *memstore.Store }

func (rootless) AddIndirectRoot(context.Context, string) error { return errDamaged }

// After an error no unregistered symlink remains.
func TestAddRootFails(t *testing.T) {
	s := memstore.New(nil)
	path := chain(t, s, 1, 1)[0]
	t.Chdir(t.TempDir())
	if _, err := store.AddRoot(t.Context(), rootless{s}, "root", path); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
