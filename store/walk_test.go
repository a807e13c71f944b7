package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pix/internal/testenv"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A store that returns too much does not fill the memory.
func TestEndlessClosure(t *testing.T) {
	root := numbered(0)
	for name, invent := range inventions {
		t.Run(name, func(t *testing.T) {
			s, most := store.WithLimits(&inventor{invent: invent}, store.Limits{Bytes: 64 << 20}), int64(160<<20)
			if name == "two references each" || name == "25,000 references each" {
				s, most = &inventor{invent: invent}, 300<<20
			}
			testenv.MaxResident(t, most, func(t *testing.T) {
				_, err := store.Copy(t.Context(), memstore.New(nil), s, []storepath.Path{root}, nil)
				if limit := limitError(t, err); limit.Root != root || !strings.Contains(err.Error(), string(root)) || !strings.Contains(err.Error(), "inventor") {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// The infos of a store that returns many at a time are counted in the same way, and infos about
// other paths are refused.
func TestManyInfos(t *testing.T) {
	two := inventions["two references each"]
	for name, many := range map[string]func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool){
		"more": func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) {
			for _, p := range append(paths[:len(paths):len(paths)], paths...) {
				if info, err := v.QueryPathInfo(t.Context(), p); !yield(info, err) {
					return
				}
			}
		},
		"fewer": func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) {},
		"in another order": func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) {
			for _, p := range slices.Backward(append(paths[:len(paths):len(paths)], numbered(1))) {
				if info, err := v.QueryPathInfo(t.Context(), p); !yield(info, err) {
					return
				}
			}
		},
		"nothing": func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) { yield(nil, nil) },
	} {
		n, err := closureError(t.Context(), &manyInventor{&inventor{invent: two}, many}, numbered(0))
		if err == nil || n > 1 || !strings.Contains(err.Error(), "was asked about") {
			t.Errorf("%s: %v", name, err)
		}
	}
	right := func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool) {
		for _, p := range paths {
			if info, err := v.QueryPathInfo(t.Context(), p); !yield(info, err) {
				return
			}
		}
	}
	for name, invent := range map[string]func(*inventor, storepath.Path) *store.PathInfo{
		"large ones": inventions["25,000 references each"], "small ones, then large ones": smallFirst,
	} {
		t.Run(name, func(t *testing.T) {
			s := store.WithLimits(&manyInventor{&inventor{invent: invent}, right}, store.Limits{Bytes: 64 << 20})
			testenv.MaxResident(t, 110<<20, func(t *testing.T) {
				_, err := closureError(t.Context(), s, numbered(0))
				limitError(t, err)
			})
		})
	}
}

// A ClosureOpener may answer in any order, but must answer about each path exactly once.
func TestClosureOpener(t *testing.T) {
	mem := memstore.New(nil)
	paths := chain(t, mem, 30, 0)
	for name, test := range map[string]struct {
		order func(n int) []int
		ok    bool
	}{
		"backwards": {func(n int) []int { o := indices(n); slices.Reverse(o); return o }, true},
		"twice":     {func(n int) []int { return append(indices(n), 0) }, false},
		"beyond":    {func(n int) []int { return append(indices(n), n) }, false},
		"before":    {func(n int) []int { return append([]int{-1}, indices(n)...) }, false},
		"fewer":     {func(n int) []int { return indices(n)[1:] }, false},
	} {
		s := &opener{Store: mem, order: test.order}
		n, err := closureError(t.Context(), s, paths...)
		if (err == nil) != test.ok || test.ok && n != 30 || !test.ok && !strings.Contains(err.Error(), "was asked about") {
			t.Errorf("%s: %d paths, %v", name, n, err)
		}
		if s.opened != 1 || s.ended != 1 {
			t.Errorf("%s: opened %d times, and ended %d times", name, s.opened, s.ended)
		}
	}
	s := &opener{Store: mem, order: indices}
	if how := testenv.Outcome(t, func() {
		for range store.Closure(t.Context(), s, paths...) {
			panic(testenv.ErrPanic)
		}
	}); how != testenv.ErrPanic || s.ended != 1 {
		t.Errorf("the call ended with %v, and end was called %d times", how, s.ended)
	}
}

func indices(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// An opener answers in a certain order.
type opener struct {
	store.Store
	order         func(n int) []int
	opened, ended int
}

func (o *opener) OpenClosure(context.Context) (store.InfosAsker, func()) {
	o.opened++
	return func(ctx context.Context, paths []storepath.Path, take func(int, *store.PathInfo) error) error {
		for _, i := range o.order(len(paths)) {
			info, err := o.QueryPathInfo(ctx, paths[min(max(i, 0), len(paths)-1)])
			if err == nil {
				err = take(i, info)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, func() { o.ended++ }
}

func smallFirst(v *inventor, path storepath.Path) *store.PathInfo {
	switch {
	case path == numbered(0):
		return &store.PathInfo{References: v.paths(200)}
	case path < numbered(1000):
		return &store.PathInfo{References: v.paths(20)}
	}
	return &store.PathInfo{References: v.paths(25_000)}
}

// A manyInventor invents many infos at a time.
type manyInventor struct {
	*inventor
	many func(v *inventor, paths []storepath.Path, yield func(*store.PathInfo, error) bool)
}

func (v *manyInventor) QueryPathInfos(_ context.Context, paths []storepath.Path) iter.Seq2[*store.PathInfo, error] {
	return func(yield func(*store.PathInfo, error) bool) { v.many(v.inventor, paths, yield) }
}

// Wrong infos of a source are refused.
func TestWrongInfos(t *testing.T) {
	for name, test := range map[string]struct {
		info *store.PathInfo
		want string
	}{
		"another path":      {&store.PathInfo{Path: numbered(1)}, "was asked about '" + string(numbered(0)) + "', but answered about '" + string(numbered(1)) + "'"},
		"another directory": {&store.PathInfo{References: []storepath.Path{"/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"}}, "/gnu/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x"},
		"no path":           {&store.PathInfo{References: []storepath.Path{"/nix/store/x"}}, "/nix/store/x"},
	} {
		for _, s := range []store.Store{
			&inventor{invent: func(*inventor, storepath.Path) *store.PathInfo { return test.info }},
			store.WithLimits(&inventor{invent: func(*inventor, storepath.Path) *store.PathInfo { return test.info }}, store.Limits{}),
		} {
			_, err := closureError(t.Context(), s, numbered(0))
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), string(numbered(0))) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A kept info has sorted references without duplicates, whatever the source returns, and the
// source's info is not changed.
func TestSortedReferences(t *testing.T) {
	root := numbered(0)
	said := []storepath.Path{numbered(3), root, numbered(1), numbered(3), numbered(2), root}
	s := &inventor{invent: func(_ *inventor, path storepath.Path) *store.PathInfo {
		if path != root {
			return &store.PathInfo{References: []storepath.Path{root}} // cycles
		}
		return &store.PathInfo{References: said}
	}}
	before := slices.Clone(said)
	var got []storepath.Path
	for info, err := range store.Closure(t.Context(), s, root) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, info.Path); info.Path == root && !slices.Equal(info.References, got1to3(root)) {
			t.Errorf("%q", info.References)
		}
	}
	if !slices.Equal(got, got1to3(root)) || !slices.Equal(said, before) {
		t.Errorf("%q, and the source has %q", got, said)
	}
	_, err := store.Copy(t.Context(), memstore.New(nil), s, []storepath.Path{root}, nil)
	if _, ok := errors.AsType[*store.ReferenceCycleError](err); !ok {
		t.Errorf("%v", err)
	}
}

func got1to3(root storepath.Path) []storepath.Path {
	return []storepath.Path{root, numbered(1), numbered(2), numbered(3)}
}

// In a wide closure many queries are pending at a time.
func TestWideClosureOverLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		var leaves []storepath.Path
		for i := range 10_000 {
			leaf, err := mem.AddTextToStore(t.Context(), fmt.Sprint(i), "x", nil)
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leaf)
		}
		root, err := mem.AddTextToStore(t.Context(), "root", "x", leaves)
		if err != nil {
			t.Fatal(err)
		}
		d := &distant{Store: mem}
		begin := time.Now()
		n, err := closureError(t.Context(), d, root)
		if err != nil || n != 10_001 || d.most != 256 {
			t.Errorf("%d paths, %d at once, %v", n, d.most, err)
		}
		// 41 round trips of 1 ms. The order of goroutines may add some.
		if took := time.Since(begin); took > 80*time.Millisecond {
			t.Errorf("the closure took %v", took)
		}
	})
}

// If infos turn out to be large, few queries are pending at a time.
func TestFewLargeInfos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int64
		s := &slowInventor{inventor: &inventor{invent: inventions["25,000 references each"]}, busy: &busy, most: &most}
		_, err := closureError(t.Context(), store.WithLimits(s, store.Limits{Bytes: 128 << 20}), numbered(0))
		limitError(t, err)
		if most.Load() > 32 {
			t.Errorf("%d queries were pending", most.Load())
		}
	})
}

// A slowInventor takes a while for each info, and counts concurrent queries.
type slowInventor struct {
	*inventor
	busy, most *atomic.Int64
}

func (v *slowInventor) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if n := v.busy.Add(1); n > v.most.Load() {
		v.most.Store(n)
	}
	defer v.busy.Add(-1)
	time.Sleep(time.Millisecond)
	return v.inventor.QueryPathInfo(ctx, path)
}

// A query that was cancelled because answers were larger than expected is repeated.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		large := chainOfRoots(t, mem, 20_000)
		var small []storepath.Path
		for i := range 100 {
			p, err := mem.AddTextToStore(t.Context(), fmt.Sprint("small", i), "x", nil)
			if err != nil {
				t.Fatal(err)
			}
			small = append(small, p)
		}
		tiny, err := mem.AddTextToStore(t.Context(), "tiny", "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &waiting{Store: mem, first: []storepath.Path{tiny, large}}
		n, err := closureError(t.Context(), s, append(append([]storepath.Path{tiny}, small...), large)...)
		if err != nil || n != 20_102 {
			t.Errorf("%d paths, %v", n, err)
		}
		if s.cancelled.Load() != 100 {
			t.Errorf("%d queries were cancelled", s.cancelled.Load())
		}
	})
}

// chainOfRoots adds a text that refers to n others.
func chainOfRoots(t *testing.T, s *memstore.Store, n int) storepath.Path {
	t.Helper()
	var refs []storepath.Path
	for i := range n {
		p, err := s.AddTextToStore(t.Context(), fmt.Sprint("leaf", i), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, p)
	}
	p, err := s.AddTextToStore(t.Context(), "large", "x", refs)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A waiting store answers about most paths only at the second query.
type waiting struct {
	store.Store
	first     []storepath.Path
	cancelled atomic.Int64
}

func (w *waiting) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if !slices.Contains(w.first, path) && w.cancelled.Load() < 100 {
		<-ctx.Done()
		w.cancelled.Add(1)
		return nil, ctx.Err()
	}
	return w.Store.QueryPathInfo(ctx, path)
}
