package removetree_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pix/internal/removetree"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	must(t, os.Mkdir(canary, 0o755))
	must(t, os.WriteFile(filepath.Join(canary, "file"), nil, 0o644))
	tree := filepath.Join(dir, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, strings.Repeat("d/", 100)), 0o755))
	must(t, os.Symlink(canary, filepath.Join(tree, "link")))
	must(t, os.Symlink(canary, filepath.Join(tree, "d/link")))
	must(t, os.Mkdir(filepath.Join(tree, "closed"), 0o755))
	must(t, os.WriteFile(filepath.Join(tree, "closed/file"), nil, 0))
	must(t, os.Chmod(filepath.Join(tree, "closed"), 0))
	must(t, removetree.RemovePath(tree))
	must(t, removetree.RemovePath(tree)) // there is none
	must(t, removetree.RemovePath(filepath.Join(tree, "a/b")))
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "canary" {
		t.Errorf("%v is left", entries)
	}
	if _, err := os.Stat(filepath.Join(canary, "file")); err != nil {
		t.Error(err)
	}
	must(t, os.Symlink(canary, tree))
	must(t, removetree.RemovePath(tree))
	if _, err := os.Stat(filepath.Join(canary, "file")); err != nil {
		t.Error(err)
	}
}

// Another process moves directories out of the tree, and puts symlinks into their places, while the tree is removed. The
// files outside stay.
func TestRemoveWhileRenamed(t *testing.T) {
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	must(t, os.Mkdir(canary, 0o755))
	for _, name := range []string{"a", "b", "c", "d"} {
		must(t, os.Mkdir(filepath.Join(canary, name), 0o755))
	}
	outside := filepath.Join(dir, "outside")
	must(t, os.Mkdir(outside, 0o755))
	for range 8 {
		tree := filepath.Join(dir, "tree")
		deep := filepath.Join(tree, strings.Repeat("d/", 40))
		must(t, os.MkdirAll(deep, 0o755))
		for _, name := range []string{"a", "b", "c", "d"} {
			must(t, os.MkdirAll(filepath.Join(tree, name, "x"), 0o755))
		}
		stop := make(chan struct{})
		var wait sync.WaitGroup
		wait.Go(func() {
			for {
				for _, name := range []string{"a", "b", "c", "d", "d/d/d"} {
					select {
					case <-stop:
						return
					default:
					}
					from, to := filepath.Join(tree, name), filepath.Join(outside, strings.ReplaceAll(name, "/", "-"))
					os.Rename(from, to)
					os.Symlink(canary, from)
					os.Remove(from)
					os.Rename(to, from)
				}
			}
		})
		removetree.RemovePath(tree) // it may fail, since there is always something new
		close(stop)
		wait.Wait()
		must(t, removetree.RemovePath(tree))
		must(t, os.RemoveAll(outside))
		must(t, os.Mkdir(outside, 0o755))
	}
	entries, err := os.ReadDir(canary)
	must(t, err)
	if len(entries) != 4 {
		t.Errorf("%d of 4 directories outside are left", len(entries))
	}
}
