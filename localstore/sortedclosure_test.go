package localstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pix/store"
	"pix/storepath"
)

// closureOf returns the paths of a closure and their infos, and queries the closure in the general way.
func closureOf(t *testing.T, s store.Store, roots ...storepath.Path) (paths []storepath.Path, infos map[storepath.Path]*store.PathInfo, err error) {
	t.Helper()
	infos = make(map[storepath.Path]*store.PathInfo)
	for info, err := range store.Closure(t.Context(), s, roots...) {
		if err != nil {
			return nil, nil, err
		}
		paths, infos[info.Path] = append(paths, info.Path), info
	}
	slices.Sort(paths)
	return paths, infos, nil
}

// A sorted closure has the paths, the infos and the errors of the closure, whether the ids in the database are dense or
// not.
func TestQuerySortedClosure(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	const n = 3000 // the infos are read in several parts
	fillChain(t, s, n)
	err := s.write(t.Context(), func(c *conn) error { // other distances, and a gap in the ids of the closure of every fifth path
		if err := c.exec("delete from Refs where reference != referrer and (reference % 5 = 0 or referrer % 7 < 4)"); err != nil {
			return err
		}
		return c.exec(`insert or ignore into Refs (referrer, reference) select id, id * 7 % ? + 1 from ValidPaths where id * 7 % ? + 1 < id`, int64(n), int64(n))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, roots := range [][]storepath.Path{
		nil, {chainPath(0)}, {chainPath(17)}, {chainPath(1500)}, {chainPath(n - 1)}, {chainPath(n - 1), chainPath(44), chainPath(n - 1), chainPath(2000)},
	} {
		want, infos, err := closureOf(t, s, roots...)
		if err != nil {
			t.Fatal(err)
		}
		paths, seq, err := store.SortedClosure(t.Context(), s, roots...)
		if err != nil || !slices.Equal(paths, want) {
			t.Fatalf("the closure of %q has %d paths, want %d, %v", roots, len(paths), len(want), err)
		}
		i := 0
		for info, err := range seq {
			if err != nil || !reflect.DeepEqual(info, infos[paths[i]]) {
				t.Fatalf("%+v, %v, want %+v", info, err, infos[paths[i]])
			}
			i++
		}
		if i != len(paths) {
			t.Errorf("%d infos of %d paths", i, len(paths))
		}
		for range seq { // may end early
			break
		}
	}
	for i := 0; i < 200; i += 7 {
		want, _, err := closureOf(t, s, chainPath(i))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := store.ClosurePaths(t.Context(), s, chainPath(i)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("the closure of path %d has %d paths, want %d, %v", i, len(got), len(want), err)
		}
	}
	if _, err := store.ClosurePaths(t.Context(), s, chainPath(0), chainPath(n)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a root that is not valid: %v", err)
	}
}

// A closure has the same limits as a walk.
func TestSortedClosureLimits(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	fillChain(t, s, 300)
	for _, limits := range []store.Limits{{Paths: 299}, {Paths: 300}, {References: 1000}, {References: 1570}, {References: 1571}, {References: 1572}, {References: 1573}, {References: 1574}, {References: 1575}, {References: 1576}, {References: 2000}, {Bytes: 1000}, {Bytes: 1 << 20}} {
		limited := store.WithLimits(s, limits)
		want, _, wantErr := closureOf(t, limited, chainPath(299))
		got, err := store.ClosurePaths(t.Context(), limited, chainPath(299))
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !slices.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%+v: %d paths, %v, want %d, %v", limits, len(got), err, len(want), wantErr)
		}
	}
}

// A path that was deleted after the closure was read has no info, and the references of an info that has changed
// meanwhile are the current ones.
func TestSortedClosureOfChange(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	fillChain(t, s, 40)
	paths, infos, err := store.SortedClosure(t.Context(), s, chainPath(39))
	if err != nil {
		t.Fatal(err)
	}
	err = s.write(t.Context(), func(c *conn) error {
		if err := c.exec("delete from Refs where reference = (select id from ValidPaths where path = ?)", string(chainPath(20))); err != nil {
			return err
		}
		if err := c.exec("delete from ValidPaths where path = ?", string(chainPath(20))); err != nil {
			return err
		}
		if err := c.exec("insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 1)", string(chainPath(60)), noHash.WithBase16()); err != nil {
			return err
		}
		return c.exec("insert into Refs (referrer, reference) values ((select id from ValidPaths where path = ?), ?)", string(chainPath(30)), c.lastID())
	})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for info, err := range infos {
		if err != nil {
			t.Fatal(err)
		}
		if (info == nil) != (paths[i] == chainPath(20)) {
			t.Errorf("'%s' has the info %v", paths[i], info)
		}
		if paths[i] == chainPath(30) && !slices.Contains(info.References, chainPath(60)) {
			t.Errorf("%q", info.References)
		}
		i++
	}
	if i != 40 {
		t.Errorf("%d infos", i)
	}
}
