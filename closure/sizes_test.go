package closure

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"pix/store"
	"pix/storepath"
)

// randomClosure returns a closure of n paths, each with references to itself and to up to four paths before it.
func randomClosure(tb testing.TB, n int) *Closure {
	tb.Helper()
	random := rand.New(rand.NewPCG(5, 6))
	var infos []*store.PathInfo
	var all []storepath.Path
	for i := range n {
		path, err := storepath.DefaultDir.Parse(fmt.Sprintf("/nix/store/%032d-%d", random.IntN(1000), i))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, path)
		info := &store.PathInfo{Path: path, NARSize: uint64(random.IntN(1000)), References: []storepath.Path{path}}
		for range random.IntN(5) {
			info.References = append(info.References, all[random.IntN(len(all))])
		}
		infos = append(infos, info)
	}
	return closureOf(tb, infos)
}

// closureOf returns the closure of infos.
func closureOf(tb testing.TB, infos []*store.PathInfo) *Closure {
	tb.Helper()
	c, err := New(infos)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Computing all sizes together gives the same sizes as a walk from each path.
func TestClosureSizes(t *testing.T) {
	c := randomClosure(t, 3000)
	sizes, err := c.ClosureSizes(t.Context(), c.Paths()...)
	if err != nil {
		t.Fatal(err)
	}
	for p := range c.All() {
		if want := c.ClosureSize(p); sizes[p] != want || c.Of(p).Size() != want {
			t.Fatalf("%s has the closure size %d (Of: %d), want %d", p, sizes[p], c.Of(p).Size(), want)
		}
	}
	empty := closureOf(t, nil)
	if sizes, err := empty.allClosureSizes(t.Context()); err != nil || len(sizes) != 0 {
		t.Errorf("sizes of the empty closure: %v, %v", sizes, err)
	}
}

func BenchmarkClosureSizes(b *testing.B) {
	c := randomClosure(b, 10_000)
	for b.Loop() {
		if _, err := c.allClosureSizes(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// The memory for the sizes of a small closure is small.
func TestClosureSizesMemory(t *testing.T) {
	c := randomClosure(t, manyPaths)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.allClosureSizes(t.Context()); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 1<<20 {
		t.Errorf("the sizes of %d closures need %d bytes", c.Len(), bytes)
	}
}
