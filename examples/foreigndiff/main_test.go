package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/internal/realnix"
	"pix/internal/testenv"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// system adds a system that refers to a library of a version.
func system(t *testing.T, s store.Store, version string) string {
	t.Helper()
	lib, err := store.AddText(t.Context(), s, "lib-"+version, version, nil)
	if err != nil {
		t.Fatal(err)
	}
	path, err := store.AddText(t.Context(), s, "system", string(lib), []storepath.Path{lib})
	if err != nil {
		t.Fatal(err)
	}
	return string(path)
}

const want = `changed lib: 1.0 -> 2.0, +0 bytes
rebuilt system:  -> , +0 bytes
288 -> 288 bytes
`

// The database and the store directory are copies: neither lies where it was written.
func TestCompare(t *testing.T) {
	root := t.TempDir()
	testenv.RemoveStore(t, root)
	s, err := localstore.Open(t.Context(), &localstore.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	before, after := system(t, s, "1.0"), system(t, s, "2.0")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	state, objects := filepath.Join(root, "copied"), filepath.Join(root, "objects")
	if err := os.CopyFS(filepath.Join(state, "db"), os.DirFS(filepath.Join(root, "nix/var/nix/db"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "nix/store"), objects); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := compare(t.Context(), state, objects, before, after, &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	missing := "/nix/store/00000000000000000000000000000000-missing"
	if err := compare(t.Context(), state, objects, before, missing, &out); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing path: %v", err)
	}
}

// The program reads the database of a running Nix, seen from outside of its root.
func TestRealCompare(t *testing.T) {
	realnix.Each(t, func(t *testing.T, suite realnix.Suite) {
		d := realnix.Start(t, suite, nil)
		path := func(version string) string {
			expr := `let lib = builtins.toFile "lib-` + version + `" "` + version + `"; in builtins.toFile "system" "${lib}"`
			return strings.Trim(strings.TrimSpace(d.MustRun(t, "nix-instantiate", "--eval", "--read-write-mode", "--expr", expr)), `"`)
		}
		before, after := path("1.0"), path("2.0")
		var out bytes.Buffer
		if err := compare(t.Context(), d.HostPath("/nix/var/nix"), d.HostPath("/nix/store"), before, after, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}
