package closure

import (
	"fmt"
	"slices"
	"testing"

	"pix/storepath"
)

// The objects near a path are its references and referrers, the largest ones of each level.
func TestAround(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abc", "b": "d", "c": "de", "d": "efg", "e": "", "f": "", "g": "h", "h": "", "x": "d"})
	for _, test := range []struct {
		path storepath.Path
		o    AroundOptions
		want string
	}{
		{"d", AroundOptions{Up: 1, Down: 1}, "[b c d e f g x] map[b:{1 0} c:{1 0} g:{0 1}]"},
		{"d", AroundOptions{Down: 2}, "[d e f g h] map[d:{3 0} e:{1 0}]"},
		{"d", AroundOptions{Up: 5}, "[a b c d x] map[c:{0 1} d:{0 3}]"},
		{"d", AroundOptions{Up: 1, Down: 1, Most: 2}, "[b c d e f] map[b:{1 0} c:{1 0} d:{1 1}]"},
		{"a", AroundOptions{}, "[a] map[a:{0 2}]"},
		{"absent", AroundOptions{Up: 1, Down: 1}, "[] map[]"},
	} {
		s := c.Around(test.path, test.o)
		if got := fmt.Sprint(s.Paths(), s.Hidden); got != test.want {
			t.Errorf("Around(%s, %+v) = %s, want %s", test.path, test.o, got, test.want)
		}
	}
}

func TestUnreferenced(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "ab", "b": "", "c": "c", "d": "e", "e": "d"})
	if got := fmt.Sprint(c.Unreferenced()); got != "[a c]" {
		t.Error(got)
	}
}

// The added size of a path is its own size and the added sizes of the paths that it dominates directly.
func TestDominators(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abc", "b": "d", "c": "d", "d": "e", "e": "", "x": ""})
	dominators, err := c.Dominators(t.Context(), "a", "x")
	if got := fmt.Sprint(dominators, err); got != "map[b:a c:a d:a e:d] <nil>" {
		t.Error(got)
	}
	large := randomClosure(t, 500)
	roots := large.Unreferenced()
	dominators, err = large.Dominators(t.Context(), roots...)
	if err != nil {
		t.Fatal(err)
	}
	added, err := large.AddedSizes(t.Context(), roots...)
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[storepath.Path]uint64)
	for p, o := range large.All() {
		sums[p] += o.NARSize
		if d, ok := dominators[p]; ok {
			sums[d] += added[p]
		}
	}
	for p, sum := range sums {
		if sum != added[p] {
			t.Errorf("%s adds %d, and it and the paths that it dominates have %d", p, added[p], sum)
		}
	}
}

// Programs that draw a layout get every path once, and the edges between paths, possibly through waypoints.
func TestVertices(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "bcf", "b": "d", "c": "d", "d": "e", "e": "f", "f": "f"})
	l, err := c.Layout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vertices := l.Vertices()
	var paths []storepath.Path
	for _, v := range vertices {
		if v.Path == "" {
			continue
		}
		paths = append(paths, v.Path)
		var reached []storepath.Path
		todo := slices.Clone(v.To)
		for len(todo) > 0 {
			to := vertices[todo[0]]
			todo = todo[1:]
			if to.Layer <= v.Layer {
				t.Errorf("an edge of %s leads from layer %d to %d", v.Path, v.Layer, to.Layer)
			}
			if to.Path == "" {
				todo = append(todo, to.To...)
			} else {
				reached = append(reached, to.Path)
			}
		}
		slices.Sort(reached)
		o, _ := c.Get(v.Path)
		if want := slices.DeleteFunc(o.References, func(ref storepath.Path) bool { return ref == v.Path }); !slices.Equal(reached, want) {
			t.Errorf("edges of %s lead to %v, expected %v", v.Path, reached, want)
		}
	}
	slices.Sort(paths)
	if !slices.Equal(paths, c.Paths()) {
		t.Errorf("the paths are %v", paths)
	}
}
