package closure

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/store"
	"pix/storepath"
)

// Sorted has the order of store.SortByReferences.
func TestSorted(t *testing.T) {
	c := randomClosure(t, 2000)
	var infos []*store.PathInfo
	for _, o := range c.All() {
		infos = append(infos, &store.PathInfo{Path: o.Path, References: o.References})
	}
	want, err := store.SortByReferences(infos)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Sorted()
	if err != nil || !slices.EqualFunc(got, want, func(p storepath.Path, info *store.PathInfo) bool { return p == info.Path }) {
		t.Errorf("the order differs, %v", err)
	}
}

func TestCycles(t *testing.T) {
	for _, test := range []struct {
		refs map[storepath.Path]string
		want string
	}{
		{map[storepath.Path]string{"a": "ab", "b": "c", "c": ""}, "[]"},
		{map[storepath.Path]string{"a": "b", "b": "c", "c": "bd", "d": ""}, "[[b c]]"},
		{map[storepath.Path]string{"a": "be", "b": "c", "c": "da", "d": "", "e": "f", "f": "gd", "g": "e", "h": "hab"}, "[[a b c] [e f g]]"},
	} {
		c := letters(t, test.refs)
		if got := fmt.Sprint(c.Cycles()); got != test.want {
			t.Errorf("Cycles of %v returned %s, want %s", test.refs, got, test.want)
		}
		_, err := c.Sorted()
		if cyclic := errors.As(err, new(*store.ReferenceCycleError)); cyclic != (test.want != "[]") {
			t.Errorf("Sorted of %v returned %v", test.refs, err)
		}
	}
}

func TestWithin(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abc", "b": "d", "c": "", "d": "ea", "e": ""})
	for depth, want := range []string{"map[a:[a]]", "map[a:[a b c] b:[] c:[]]", "map[a:[a b c] b:[d] c:[] d:[a]]", "map[a:[a b c] b:[d] c:[] d:[a e] e:[]]"} {
		got := make(map[storepath.Path][]storepath.Path)
		for path, o := range c.Within(depth, "a", "absent").All() {
			got[path] = o.References
		}
		if fmt.Sprint(got) != want {
			t.Errorf("Within(%d) has the objects %v, want %s", depth, got, want)
		}
	}
}
