package closure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

func TestLoadReferrers(t *testing.T) {
	s := memstore.New(nil)
	add := func(name string, refs ...storepath.Path) storepath.Path {
		path, err := store.AddText(t.Context(), s, name, name, refs)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := add("other")
	lib := add("lib", other)
	first, second := add("first", lib, other), add("second", lib)
	both := add("both", first, second)
	add("unrelated", other)
	c, err := LoadReferrers(t.Context(), s, 0, lib)
	if err != nil {
		t.Fatal(err)
	}
	want := []storepath.Path{lib, first, second, both}
	slices.Sort(want)
	if !slices.Equal(c.Paths(), want) {
		t.Errorf("the referrers are %q, want %q", c.Paths(), want)
	}
	if o, _ := c.Get(first); !slices.Equal(o.References, []storepath.Path{lib}) {
		t.Errorf("%+v", o)
	}
	for depth, more := range map[int][]storepath.Path{1: nil, 2: {both}, 3: {both}} {
		want := append([]storepath.Path{lib, first, second}, more...)
		slices.Sort(want)
		if c, err := LoadReferrers(t.Context(), s, depth, lib); err != nil || !slices.Equal(c.Paths(), want) {
			t.Errorf("depth %d: %v, %v, want %q", depth, c, err, want)
		}
	}
	if _, err := LoadReferrers(t.Context(), s, 0, lib, onePath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
	if _, err := LoadReferrers(t.Context(), store.WithLimits(s, store.Limits{Paths: 3}), 0, lib); !errors.As(err, new(*store.LimitError)) {
		t.Errorf("too many referrers: %v", err)
	}
}

// A referrerStore is a wholeStore that also knows referrers.
type referrerStore struct {
	*wholeStore
	referrers store.Store
}

func (s *referrerStore) ClosureLimits() (store.Limits, store.Store) { return s.limits, s }

func (s *referrerStore) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	return store.Referrers(ctx, s.referrers, path)
}

// Referrers are the same from queries and from the infos of all paths.
func TestLoadReferrersAtOnce(t *testing.T) {
	s := memstore.New(nil)
	var paths []storepath.Path
	var infos []*store.PathInfo
	for i := range 300 {
		var refs []storepath.Path
		if i > 0 {
			refs = append(refs, paths[(i-1)/2])
		}
		if i > 10 {
			refs = append(refs, paths[i-7])
		}
		name := fmt.Sprint("object-", i)
		path, err := store.AddText(t.Context(), s, name, name, refs)
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.QueryPathInfo(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		paths, infos = append(paths, path), append(infos, info)
	}
	fast := &referrerStore{newWholeStore(infos), s}
	for _, roots := range [][]storepath.Path{paths[:1], paths[200:203], paths[299:], {paths[3], paths[3]}} {
		want, err := walkReferrers(t.Context(), s, 0, roots, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		for _, atLeast := range []int{0, 1, 50, 1000} {
			got, err := loadReferrers(t.Context(), fast, 0, roots, atLeast)
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(maps.Collect(got.All()), maps.Collect(want.All()), func(a, b Object) bool { return reflect.DeepEqual(a, b) }) {
				t.Errorf("%d roots, at least %d: %q, want %q", len(roots), atLeast, got.Paths(), want.Paths())
			}
		}
	}
	if fast.scans == 0 {
		t.Error("the infos were never read at once")
	}
	fast.scans = 0
	if _, err := loadReferrers(t.Context(), fast, 3, paths[:1], 0); err != nil || fast.scans > 0 {
		t.Errorf("with a depth: %v, and the infos were read %d times", err, fast.scans)
	}
	if _, err := loadReferrers(t.Context(), fast, 0, []storepath.Path{paths[0], onePath}, 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
	fast.limits.Paths = 100
	if _, err := loadReferrers(t.Context(), fast, 0, paths[:1], 0); !errors.As(err, new(*store.LimitError)) {
		t.Errorf("too many referrers: %v", err)
	}
}
