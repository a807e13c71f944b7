package closure

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pix/store"
	"pix/storepath"
)

// addedSize returns the added size of a path by its definition: it removes the path, and loads the rest again.
func addedSize(c *Closure, path storepath.Path, roots []storepath.Path) uint64 {
	reached := map[storepath.Path]bool{path: true}
	var rest uint64
	for todo := slices.Clone(roots); len(todo) > 0; todo = todo[1:] {
		if !reached[todo[0]] {
			reached[todo[0]] = true
			o, _ := c.Get(todo[0])
			rest += o.NARSize
			todo = append(todo, o.References...)
		}
	}
	return c.Of(roots...).Size() - rest
}

// The added sizes equal the sizes by definition, for graphs with and without cycles and for one root and several.
func TestAddedSizes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		n := 1 + random.IntN(30)
		var infos []*store.PathInfo
		for i := range n {
			info := &store.PathInfo{Path: numbered(t, i), NARSize: uint64(1 + random.IntN(1000))}
			for range random.IntN(4) {
				to := random.IntN(i + 1)
				if round%3 == 0 {
					to = random.IntN(n)
				}
				info.References = append(info.References, numbered(t, to))
			}
			infos = append(infos, info)
		}
		c := closureOf(t, infos)
		roots := []storepath.Path{numbered(t, n-1), numbered(t, random.IntN(n)), numbered(t, 99)}[:1+2*(round%2)]
		added, err := c.AddedSizes(t.Context(), roots...)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Sorted(maps.Keys(added)), c.Of(roots...).Paths(); !slices.Equal(got, want) {
			t.Fatalf("added sizes of %q, want %q", got, want)
		}
		roots = slices.DeleteFunc(slices.Clone(roots), func(p storepath.Path) bool { return p == numbered(t, 99) })
		for path, size := range added {
			if want := addedSize(c, path, roots); size != want {
				t.Fatalf("round %d: %s of %q has the added size %d, want %d", round, path, roots, size, want)
			}
		}
	}
}

// The time for the added sizes of a long chain, in which each path also refers to the last, grows hardly
// faster than the chain.
func TestAddedSizesOfChain(t *testing.T) {
	const n = 50_000
	var infos []*store.PathInfo
	for i := range n {
		infos = append(infos, &store.PathInfo{Path: numbered(t, i), NARSize: 1, References: []storepath.Path{numbered(t, min(i+1, n-1)), numbered(t, n-1)}})
	}
	added, err := closureOf(t, infos).AddedSizes(t.Context(), numbered(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]uint64{0: n, 1: n - 2, n - 2: 1, n - 1: 1} {
		if added[numbered(t, i)] != want {
			t.Errorf("object %d has the added size %d, want %d", i, added[numbered(t, i)], want)
		}
	}
}
