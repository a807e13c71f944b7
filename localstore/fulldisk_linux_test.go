package localstore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
	"pix/localstore/internal/objects"
	"pix/storepath"
)

// fillDisk writes a file until the disk is full. It returns the name of the file.
func fillDisk(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for {
		if _, err := f.Write(page); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			return name
		}
	}
}

// useInodes creates files until the file system has no free inode.
func useInodes(t *testing.T, dir string) {
	t.Helper()
	dir = filepath.Join(dir, "ballast")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		f, err := os.CreateTemp(dir, "")
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// storeOnDisk creates a store with one path and closes it.
func storeOnDisk(t *testing.T, dir string) (root string, path storepath.Path) {
	t.Helper()
	root = filepath.Join(dir, "s")
	s, err := Open(t.Context(), &Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	path, err = s.AddTextToStore(t.Context(), "x", strings.Repeat("x", 1<<20), nil)
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return root, path
}

// A store on a full disk can be collected, even if SQLite has to create the files beside the database again.
func TestCollectOnFullDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "20m", func(t *testing.T, dir string) {
		for _, remove := range [][]string{nil, {"-shm"}, {"-shm", "-wal"}} {
			root, path := storeOnDisk(t, dir)
			for _, suffix := range remove {
				if err := objects.IgnoreNotExist(os.Remove(filepath.Join(root, "nix/var/nix/db/db.sqlite"+suffix))); err != nil {
					t.Fatal(err)
				}
			}
			ballast := fillDisk(t, dir)
			s, err := Open(t.Context(), &Options{Root: root})
			if err != nil {
				t.Fatalf("without %q: %v", remove, err)
			}
			if _, err := s.AddTextToStore(t.Context(), "y", strings.Repeat("y", 1<<20), nil); err == nil {
				t.Error("an object was added on a full disk")
			} else if !strings.Contains(err.Error(), "full") && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("adding without %q: %v, want a full disk", remove, err)
			}
			result, err := s.CollectGarbage(t.Context(), deleteAll)
			if err != nil {
				t.Fatalf("without %q: %v", remove, err)
			}
			if len(result.Paths) != 1 || result.Paths[0] != string(path) {
				t.Errorf("without %q: deleted %q", remove, result.Paths)
			}
			checkSound(t, s)
			s.Close()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A store on a file system without free inodes can be collected.
func TestCollectWithoutInodes(t *testing.T) {
	testenv.OnSmallDisk(t, "64m,nr_inodes=200", func(t *testing.T, dir string) {
		root, path := storeOnDisk(t, dir)
		useInodes(t, dir)
		s := open(t, Options{Root: root})
		result, err := s.CollectGarbage(t.Context(), deleteAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Paths) != 1 || result.Paths[0] != string(path) {
			t.Errorf("deleted %q", result.Paths)
		}
	})
}

// The objects of a store on a full disk can be read.
func TestReadOnFullDisk(t *testing.T) {
	testenv.OnSmallDisk(t, "20m", func(t *testing.T, dir string) {
		root, path := storeOnDisk(t, dir)
		fillDisk(t, dir)
		for _, opts := range []Options{{Root: root}, {Root: root, ReadOnly: true}} {
			s := open(t, opts)
			archive, err := s.NARFromPath(t.Context(), path)
			if err != nil {
				t.Fatalf("%+v: %v", opts, err)
			}
			if _, err := io.Copy(io.Discard, archive); err != nil {
				t.Errorf("%+v: %v", opts, err)
			}
			archive.Close()
			if err := s.OptimiseStore(t.Context()); err != nil && !errors.Is(err, ErrReadOnly) {
				t.Errorf("optimising: %v", err)
			}
		}
	})
}
