package localstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix/internal/testenv"
	"pix/store"
	"pix/storepath"
)

// In a new store, the ids belong to other paths than in the deleted store.
func TestSortedClosureOfWipedStore(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := open(t, Options{Root: root})
	fillChain(t, s, 1100)
	paths, infos, err := store.SortedClosure(t.Context(), s, chainPath(39))
	if err != nil {
		t.Fatal(err)
	}
	all := 0
	for info, err := range s.QueryAllPathInfos(t.Context()) {
		if err != nil || info == nil {
			t.Fatal(info, err)
		}
		if all++; all > 1 {
			continue
		}
		for os.RemoveAll(root) != nil {
			testenv.MakeWritable(root)
		}
		err = s.write(t.Context(), func(c *conn) error {
			return c.exec("insert into ValidPaths (id, path, hash, registrationTime, narSize) values (1, ?, ?, 1, 77), (1050, ?, ?, 1, 77)",
				string(chainPath(39)), noHash.WithBase16(), string(chainPath(7)), noHash.WithBase16())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all != 1024 {
		t.Errorf("%d infos of all paths, want only the first part", all)
	}
	i := 0
	for info, err := range infos {
		if err != nil || (info != nil) != (paths[i] == chainPath(39) || paths[i] == chainPath(7)) || info != nil && (info.NARSize != 77 || info.Path != paths[i]) {
			t.Errorf("'%s' has the info %+v, %v", paths[i], info, err)
		}
		i++
	}
	if i != 40 {
		t.Errorf("%d infos", i)
	}
}

// Closures are consistent while a collector deletes their paths and another caller adds them again.
func TestSortedClosureBesideCollector(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	const n = 30
	var texts [n]storepath.Path
	add := func() error {
		session, err := s.Session(t.Context())
		if err != nil {
			return err
		}
		defer session.Close()
		for i := range texts {
			var references []storepath.Path
			if i > 0 {
				references = []storepath.Path{texts[i/2], texts[i-1]}
			}
			if texts[i], err = store.AddText(t.Context(), session, fmt.Sprint("text", i), "text", references); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	roots, done := []storepath.Path{texts[n-1], texts[n/2]}, make(chan error, 1)
	go func() {
		for range 4 {
			if _, err := s.CollectGarbage(t.Context(), store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1 << 62}); err != nil {
				done <- err
				return
			}
			if err := add(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		checkChangingClosure(t, s, n, roots)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			checkSortedClosure(t, s, roots...)
			return
		default:
		}
	}
}

// checkChangingClosure checks the closure of n paths, which are deleted and added meanwhile.
func checkChangingClosure(t *testing.T, s *Store, n int, roots []storepath.Path) {
	t.Helper()
	paths, infos, err := store.SortedClosure(t.Context(), s, roots...)
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	if err != nil || len(paths) != n {
		t.Fatalf("%d paths, %v", len(paths), err)
	}
	i := 0
	for info, err := range infos {
		if err != nil || info != nil && (info.Path != paths[i] || len(info.References) > 2) {
			t.Fatalf("'%s' has the info %+v, %v", paths[i], info, err)
		}
		i++
	}
}
