package closure

import (
	"math"
	"testing"

	"pix/store"
	"pix/storepath"
)

// A hostile store can claim sizes whose sum does not fit into 64 bits. No sum looks small then.
func TestHugeSizes(t *testing.T) {
	const n = 2 * manyPaths
	var infos, small []*store.PathInfo
	for i := range n {
		info := &store.PathInfo{Path: numbered(t, i), NARSize: 1 << 63}
		if i > 0 {
			info.References = []storepath.Path{numbered(t, i-1)}
		}
		infos = append(infos, info)
		other := *info
		other.NARSize = 1
		small = append(small, &other)
	}
	c := closureOf(t, infos)
	last := numbered(t, n-1)
	if got := c.Size(); got != math.MaxUint64 {
		t.Errorf("the size of the closure is %d", got)
	}
	if got := c.ClosureSize(last); got != math.MaxUint64 {
		t.Errorf("the closure size of the last path is %d", got)
	}
	sizes, err := c.ClosureSizes(t.Context(), c.Paths()...)
	if err != nil || sizes[last] != math.MaxUint64 || sizes[numbered(t, 0)] != 1<<63 {
		t.Errorf("the closure sizes are %d and %d, %v", sizes[numbered(t, 0)], sizes[last], err)
	}
	added, err := c.AddedSizes(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	if added[last] != math.MaxUint64 || added[numbered(t, 0)] != 1<<63 {
		t.Errorf("the added sizes are %d and %d", added[numbered(t, 0)], added[last])
	}

	for i := range infos {
		small[i].Path = numbered(t, n+i) // other paths of the same package
		small[i].References = nil
	}
	d := Compare(closureOf(t, small), c)
	if d.SizeDelta() != math.MaxInt64 || d.Packages[0].SizeDelta != math.MaxInt64 {
		t.Errorf("the closure grew by %d, the package by %d", d.SizeDelta(), d.Packages[0].SizeDelta)
	}
	d = Compare(c, closureOf(t, small))
	if d.SizeDelta() != -math.MaxInt64 || d.Packages[0].SizeDelta != -math.MaxInt64 {
		t.Errorf("the closure grew by %d, the package by %d", d.SizeDelta(), d.Packages[0].SizeDelta)
	}
}
