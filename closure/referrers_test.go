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
	c, err := LoadReferrers(t.Context(), s, lib)
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
	if _, err := LoadReferrers(t.Context(), s, lib, onePath); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path that is not valid: %v", err)
	}
	if _, err := LoadReferrers(t.Context(), store.WithLimits(s, store.Limits{Paths: 3}), lib); !errors.As(err, new(*store.LimitError)) {
		t.Errorf("too many referrers: %v", err)
	}
}
