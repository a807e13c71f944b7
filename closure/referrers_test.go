package closure

import (
	"errors"
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
