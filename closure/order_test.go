package closure

import (
	"errors"
	"fmt"
	"math/rand/v2"
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

// So has a part of the objects, also if some of them have many more references than there are objects.
func TestSortedParts(t *testing.T) {
	const n = 400
	random := rand.New(rand.NewPCG(1, 2))
	var infos []*store.PathInfo
	for i := range n {
		info := &store.PathInfo{Path: storepath.Path(fmt.Sprintf("/nix/store/%032d-object", i))}
		for to := range n {
			// Every tenth object has many references. Only those with a larger number refer to each other.
			if to > i && (i%10 == 0 || random.IntN(100) == 0) {
				info.References = append(info.References, storepath.Path(fmt.Sprintf("/nix/store/%032d-object", to)))
			}
		}
		infos = append(infos, info)
	}
	c, err := New(infos)
	if err != nil {
		t.Fatal(err)
	}
	sorter := c.newSorter()
	for size := 1; size < n; size += size/2 + 1 {
		for range 50 {
			objects := make([]int32, 0, size)
			var part []*store.PathInfo
			for _, i := range random.Perm(n)[:size] {
				objects = append(objects, int32(i))
			}
			slices.Sort(objects)
			for _, i := range objects {
				part = append(part, infos[i])
			}
			want, err := store.SortByReferences(part)
			if err != nil {
				t.Fatal(err)
			}
			got, err := sorter.sort(objects)
			if err != nil || !slices.EqualFunc(c.pathsOf(got), want, func(p storepath.Path, info *store.PathInfo) bool { return p == info.Path }) {
				t.Fatalf("%d objects: %v, %q", size, err, c.pathsOf(got))
			}
		}
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
