package store_test

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"testing"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A sorted closure has the infos of the closure.
func TestSortedClosure(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 20, 0)
	want := make(map[storepath.Path]*store.PathInfo)
	for info, err := range store.Closure(t.Context(), mem, paths[19]) {
		if err != nil {
			t.Fatal(err)
		}
		want[info.Path] = info
	}
	got, infos, err := store.SortedClosure(t.Context(), mem, paths[19], paths[3], paths[19])
	if err != nil || len(got) != len(want) || !slices.IsSorted(got) {
		t.Fatalf("%q, %v", got, err)
	}
	if only, err := store.ClosurePaths(t.Context(), mem, paths[19]); !slices.Equal(only, got) || err != nil {
		t.Errorf("%q, %v", only, err)
	}
	for range 2 { // the iterator may be used again
		i := 0
		for info, err := range infos {
			if err != nil || !reflect.DeepEqual(info, want[got[i]]) {
				t.Errorf("%v, %v", info, err)
			}
			i++
		}
		if i != len(got) {
			t.Errorf("%d infos", i)
		}
	}
	for range infos { // may end early
		break
	}
	if got, infos, err := store.SortedClosure(t.Context(), mem, paths[19], absent); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%q, %v, %v", got, infos != nil, err)
	}
	if got, err := store.ClosurePaths(t.Context(), mem); len(got) != 0 || err != nil {
		t.Errorf("the closure of no roots is %q, %v", got, err)
	}
}

// The infos of a large closure are queried again.
func TestLargeSortedClosure(t *testing.T) {
	const n = 20_000
	var refs []storepath.Path
	for i := 1; i < n; i++ {
		refs = append(refs, numbered(i))
	}
	queried := 0
	s := store.WithLimits(&manyInventor{&inventor{invent: func(_ *inventor, path storepath.Path) *store.PathInfo {
		if path == numbered(0) {
			return &store.PathInfo{References: refs}
		}
		return new(store.PathInfo)
	}}, func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) {
		for _, p := range paths {
			queried++
			if info, err := v.QueryPathInfo(t.Context(), p); !yield(info, err) {
				return
			}
		}
	}}, store.Limits{})
	paths, infos, err := store.SortedClosure(t.Context(), s, numbered(0))
	if err != nil || len(paths) != n || !slices.IsSorted(paths) || queried != n {
		t.Fatalf("%d paths, %d queries, %v", len(paths), queried, err)
	}
	i := 0
	for info, err := range infos {
		if err != nil || info.Path != paths[i] {
			t.Fatalf("%v, %v", info, err)
		}
		i++
	}
	if i != n || queried != 2*n {
		t.Errorf("%d infos, %d queries", i, queried)
	}
}

// A sortedStore finds closures without a walk. It returns another path, so that a walk is noticed.
type sortedStore struct{ store.Store }

func (sortedStore) QuerySortedClosure(_ context.Context, _ []storepath.Path, limits store.Limits) ([]storepath.Path, iter.Seq2[*store.PathInfo, error], error) {
	if e := limits.Exceeded(3, 0, 0); e != nil {
		return nil, nil, e
	}
	return []storepath.Path{absent}, nil, nil
}

// A closure that exceeds a limit is walked, for an exact error, and so is one with a limit of bytes or a budget.
func TestSortedClosureLimits(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 3, 0)
	got, err := store.ClosurePaths(t.Context(), store.WithLimits(sortedStore{mem}, store.Limits{}), paths[2])
	if err != nil || !slices.Equal(got, []storepath.Path{absent}) {
		t.Errorf("%q, %v", got, err)
	}
	_, err = store.ClosurePaths(t.Context(), store.WithLimits(sortedStore{mem}, store.Limits{Paths: 2}), paths[2])
	if e := limitError(t, err); e.Root != paths[2] || e.Source == "" || e.Max != 2 {
		t.Errorf("%v", err)
	}
	_, err = store.ClosurePaths(t.Context(), store.WithLimits(sortedStore{mem}, store.Limits{Bytes: 100}), paths[2])
	if e := limitError(t, err); e.Root != paths[2] {
		t.Errorf("%v", err)
	}
	b := &closureBudget{left: 1 << 30}
	ctx := store.WithClosureBudget(t.Context(), b)
	got, err = store.ClosurePaths(ctx, store.WithLimits(sortedStore{mem}, store.Limits{}), paths[2])
	slices.Sort(paths)
	if err != nil || !slices.Equal(got, paths) {
		t.Errorf("%q, %v", got, err)
	}
}
