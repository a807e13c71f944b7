package localstore

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"pix/store"
	"pix/storepath"
)

// A randomGraph describes random rows of a database.
type randomGraph struct {
	paths      int
	references int     // of each path, on average
	spread     int64   // the largest distance between two ids
	dangling   float64 // the share of the references to ids without a path
}

// fill registers the paths, and references between any two of them, so there are cycles and self-references.
func (g randomGraph) fill(t testing.TB, s *Store, random *rand.Rand) (paths []storepath.Path) {
	t.Helper()
	ids := make([]int64, g.paths)
	id := random.Int64N(g.spread)
	for i := range ids {
		id += 1 + random.Int64N(g.spread)
		ids[i] = id
	}
	random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	err := s.read(t.Context(), func(c *conn) error {
		// Foreign keys cannot be disabled in a transaction.
		if err := cmp.Or(c.exec("pragma foreign_keys = 0"), c.exec("begin immediate")); err != nil {
			return err
		}
		for i, id := range ids {
			paths = append(paths, chainPath(i))
			err := c.exec("insert into ValidPaths (id, path, hash, registrationTime, narSize, ultimate, sigs) values (?, ?, ?, 1, ?, ?, ?)",
				id, string(paths[i]), noHash.WithBase16(), int64(i+1), int64(i%2), "b:YQ== a:Yg==")
			if err != nil {
				return err
			}
		}
		for range g.paths * g.references {
			to := ids[random.IntN(len(ids))]
			if random.Float64() < g.dangling {
				to += 1_000_000 * g.spread
			}
			if err := c.exec("insert or ignore into Refs (referrer, reference) values (?, ?)", ids[random.IntN(len(ids))], to); err != nil {
				return err
			}
		}
		return cmp.Or(c.exec("commit"), c.exec("pragma foreign_keys = 1"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// checkSortedClosure compares the sorted closure of roots with the closure.
func checkSortedClosure(t *testing.T, s store.Store, roots ...storepath.Path) {
	t.Helper()
	want, infos, wantErr := closureOf(t, s, roots...)
	paths, seq, err := store.SortedClosure(t.Context(), s, roots...)
	if wantErr != nil || err != nil {
		if reflect.TypeOf(err) != reflect.TypeOf(wantErr) || errors.Is(err, store.ErrNotFound) != errors.Is(wantErr, store.ErrNotFound) {
			t.Errorf("the error is %v (%T), want %v (%T)", err, err, wantErr, wantErr)
		}
		return
	}
	if !slices.Equal(paths, want) {
		t.Fatalf("the closure of %q has %d paths, want %d", roots, len(paths), len(want))
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
}

// Sorted closures in random graphs are equal to the closures, also where the ids are far apart and references lead nowhere.
func TestRandomSortedClosures(t *testing.T) {
	for _, g := range []randomGraph{
		{1, 3, 1, 0}, {2, 1, 1, 0}, {60, 1, 1, 0}, {60, 2, 3, 0.1}, {300, 1, 2, 0}, {300, 1, 12, 0.05}, {300, 3, 5000, 0}, {300, 2, 1 << 40, 0.01},
	} {
		random := rand.New(rand.NewPCG(uint64(g.paths), uint64(g.spread)))
		s := open(t, Options{Root: t.TempDir()})
		paths := g.fill(t, s, random)
		for i := range 10 {
			var roots []storepath.Path
			for range i % 5 {
				roots = append(roots, paths[random.IntN(len(paths))])
			}
			switch i % 8 {
			case 5:
				roots = append(roots, roots...) // twice
			case 6:
				roots = slices.Insert(roots, random.IntN(len(roots)+1), absent)
			case 7:
				roots = append(roots, storepath.Path([]string{"", "/nix/store/x", "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a", "/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a/b"}[random.IntN(4)]))
			}
			checkSortedClosure(t, s, roots...)
			limits := store.Limits{Paths: random.IntN(2 * len(paths)), References: random.IntN(3 * len(paths))}
			checkSortedClosure(t, store.WithLimits(s, limits), roots...)
		}
	}
}

// Roots without references exceed the limit of paths, too.
func TestSortedClosureOfManyRoots(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	var roots []storepath.Path
	err := s.write(t.Context(), func(c *conn) error {
		for i := range 10 {
			roots = append(roots, chainPath(i))
			if err := c.exec("insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 1)", string(chainPath(i)), noHash.WithBase16()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for most := range 12 {
		checkSortedClosure(t, store.WithLimits(s, store.Limits{Paths: most}), roots...)
	}
}

// A path that was deleted and added again meanwhile has its new info.
func TestSortedClosureOfPathAddedAgain(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	fillChain(t, s, 3)
	paths, infos, err := store.SortedClosure(t.Context(), s, chainPath(2))
	if err != nil {
		t.Fatal(err)
	}
	err = s.write(t.Context(), func(c *conn) error {
		return cmp.Or(
			c.exec("delete from Refs"),
			c.exec("delete from ValidPaths"),
			c.exec("insert into ValidPaths (id, path, hash, registrationTime, narSize) values (100, ?, ?, 1, 77)", string(chainPath(1)), noHash.WithBase16()),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for info, err := range infos {
		if err != nil || (info != nil) != (paths[i] == chainPath(1)) || info != nil && info.NARSize != 77 {
			t.Errorf("'%s' has the info %+v, %v", paths[i], info, err)
		}
		i++
	}
}

// A cancelled call, and the sequence of a closed store, end with an error.
func TestSortedClosureEnds(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	most := 2 * infosPerConnection * runtime.GOMAXPROCS(0) // they are read in two parts
	fillChain(t, s, most)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, infos, err := store.SortedClosure(ctx, s, chainPath(most-1))
	if err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	n := 0
	for info, failed := range infos {
		if n++; n == 1 {
			cancel(stopped)
		}
		if err = failed; err == nil && info == nil {
			t.Fatal("there is no info")
		}
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, stopped) || n >= most {
		t.Errorf("%v after %d infos", err, n)
	}
	if _, _, err := store.SortedClosure(ctx, s, chainPath(most-1)); err == nil {
		t.Error("a call that was cancelled before it began returned no error")
	}
	if _, infos, err = store.SortedClosure(t.Context(), s, chainPath(5)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, err = range infos {
	}
	if !errors.Is(err, ErrClosed) {
		t.Errorf("the store was closed, but the error is %v", err)
	}
}
