package view

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// randomGraph returns a graph in which a path refers to paths after it, mostly to near ones.
func randomGraph(n, edges int) (first, refs []int32) {
	random := rand.New(rand.NewPCG(3, 4))
	first = []int32{0}
	for i := range n {
		var list []int32
		for range min(edges, n-1-i) {
			list = append(list, int32(i+1+random.IntN(min(n-1-i, 200))))
		}
		slices.Sort(list)
		refs = append(refs, slices.Compact(list)...)
		first = append(first, int32(len(refs)))
	}
	return first, refs
}

// A path is to the right of the paths that refer to it, and no two paths are at the same place.
func TestLayOut(t *testing.T) {
	first, refs := randomGraph(3000, 6)
	x, y := layOut(first, refs)
	for i := range x {
		for _, ref := range refs[first[i]:first[i+1]] {
			if x[ref] <= x[i] {
				t.Fatalf("path %d at %v refers to %d at %v", i, x[i], ref, x[ref])
			}
		}
		if math.IsNaN(float64(y[i])) || math.IsInf(float64(y[i]), 0) {
			t.Fatalf("path %d is at %v", i, y[i])
		}
	}
	places := make(map[[2]float32]int)
	for i := range x {
		at := [2]float32{x[i], y[i]}
		if other, taken := places[at]; taken {
			t.Errorf("the paths %d and %d are both at %v", other, i, at)
		}
		places[at] = i
	}
	againX, againY := layOut(first, refs)
	if !slices.Equal(x, againX) || !slices.Equal(y, againY) {
		t.Error("the second layout differs")
	}
}

// Cycles, and graphs without edges or paths, have a layout.
func TestLayOutOdd(t *testing.T) {
	for _, test := range []struct{ first, refs []int32 }{
		{[]int32{0}, nil},
		{[]int32{0, 0}, nil},
		{[]int32{0, 0, 0, 0}, nil},
		{[]int32{0, 1, 2}, []int32{1, 0}},
		{[]int32{0, 1, 3, 4, 4}, []int32{1, 2, 3, 0}},
	} {
		x, y := layOut(test.first, test.refs)
		if len(x) != len(test.first)-1 || len(y) != len(x) {
			t.Errorf("%v: %v %v", test, x, y)
		}
	}
}

// A deep closure does not overflow the stack.
func TestLayOutChain(t *testing.T) {
	const n = 100_000
	first, refs := make([]int32, n+1), make([]int32, n-1)
	for i := range n - 1 {
		refs[i], first[i+1] = int32(i+1), int32(i+1)
	}
	first[n] = n - 1
	start := time.Now()
	x, _ := layOut(first, refs)
	t.Logf("%v", time.Since(start))
	if x[0] >= x[n-1] {
		t.Errorf("the last path is at %v, the first one at %v", x[n-1], x[0])
	}
}

func BenchmarkLayOut(b *testing.B) {
	first, refs := randomGraph(10_000, 6)
	for b.Loop() {
		layOut(first, refs)
	}
}
