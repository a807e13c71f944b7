package localstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/objects"
	"pix/nixhash"
)

// checkReturns fails the test if f does not return in time, because it has opened a named pipe.
func checkReturns(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not return", what)
	}
}

// If a file of the database is a named pipe or a directory, the error names it, and no call waits for the other end of
// a pipe.
func TestOpenOtherFiles(t *testing.T) {
	mkfifo := func(name string) error { return unix.Mkfifo(name, 0o600) }
	mkdir := func(name string) error { return os.Mkdir(name, 0o700) }
	for kind, make := range map[string]func(string) error{"pipe": mkfifo, "directory": mkdir} {
		for _, file := range []string{"db.sqlite", "db.sqlite-journal", "db.sqlite-wal", "db.sqlite-shm", "schema", "reserved"} {
			root := t.TempDir()
			s := open(t, Options{Root: root})
			path := addTexts(t, s, 1, false)[0]
			s.Close()
			name := filepath.Join(root, "nix/var/nix/db", file)
			if err := errors.Join(objects.IgnoreNotExist(os.Remove(name)), make(name)); err != nil {
				t.Fatal(err)
			}
			for _, opts := range []Options{{Root: root}, {Root: root, ReadOnly: true}, {Root: root, NoWAL: true}} {
				checkReturns(t, "opening a store whose "+file+" is a "+kind, func() {
					s, err := Open(t.Context(), &opts)
					if file == "reserved" {
						if err != nil {
							t.Error(err)
							return
						}
						if valid, err := s.IsValidPath(t.Context(), path); !valid || err != nil {
							t.Error(valid, err)
						}
						s.Close()
						return
					}
					if err == nil || !strings.Contains(err.Error(), name+"'") && !strings.Contains(err.Error(), name+":") || !strings.Contains(err.Error(), "not a regular file") {
						t.Errorf("%s is a %s: %v", file, kind, err)
					}
				})
			}
		}
	}
}

// A database of another program is not changed.
func TestOpenOtherDatabase(t *testing.T) {
	for _, noWAL := range []bool{false, true} {
		root := t.TempDir()
		open(t, Options{Root: root}).Close()
		name := filepath.Join(root, "nix/var/nix/db/db.sqlite")
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), &Options{Root: root, NoWAL: noWAL})
		if !errors.As(err, new(*SchemaError)) {
			t.Errorf("opening an empty file: %v", err)
		}
		if info, err := os.Stat(name); err != nil || info.Size() != 0 {
			t.Errorf("%v, %v", info.Size(), err)
		}
	}
}

// The reserved space never replaces a file elsewhere.
func TestReservedSymlink(t *testing.T) {
	root := t.TempDir()
	open(t, Options{Root: root}).Close()
	other, name := filepath.Join(root, "other"), filepath.Join(root, "nix/var/nix/db/reserved")
	if err := errors.Join(os.WriteFile(other, []byte("x"), 0o644), os.Remove(name), os.Symlink(other, name)); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Root: root}).Close()
	if info, err := os.Stat(other); err != nil || info.Size() != 1 {
		t.Error(info.Size(), err)
	}
}

// If .links is a symlink, the files in its target do not belong to the store: they are neither deleted nor linked.
func TestLinksSymlink(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	addTexts(t, s, 2, true)
	other := t.TempDir()
	precious := filepath.Join(other, nixhash.Sum(nixhash.SHA256, []byte("x")).Nix32())
	err := errors.Join(os.WriteFile(precious, nil, 0o644), os.RemoveAll(s.links()), os.Symlink(other, s.links()))
	if err != nil {
		t.Fatal(err)
	}
	if remain, lines := verify(t, s, true, true); !remain {
		t.Errorf("%q", lines)
	}
	if err := s.OptimiseStore(t.Context()); err == nil {
		t.Error("the store was optimised")
	}
	result, err := s.CollectGarbage(t.Context(), deleteAll)
	if !errors.As(err, new(*IncompleteError)) || result == nil || len(result.Paths) != 2 {
		t.Errorf("%v, %v", result, err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
