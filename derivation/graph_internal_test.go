package derivation

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// restarted is a slow version of [graph.orderAll], which begins again after each cycle.
func restarted(g graph, roots []int32) (cycles [][]int32) {
	for {
		_, cycle := g.order(roots)
		if cycle == nil {
			return cycles
		}
		cycles = append(cycles, cycle)
		for _, n := range cycle {
			g[n] = nil
		}
	}
}

func TestOrderAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		g := make(graph, 1+r.IntN(12))
		roots := make([]int32, len(g))
		for i := range g {
			roots[i] = int32(i)
			for range r.IntN(4) {
				g[i] = append(g[i], int32(r.IntN(len(g))))
			}
		}
		want := restarted(slices.Clone(g), roots)
		var cycles [][]int32
		cut := slices.Clone(g)
		order := cut.orderAll(roots, func(cycle []int32) bool {
			cycles = append(cycles, cycle)
			return true
		})
		if !reflect.DeepEqual(cycles, want) {
			t.Fatalf("%v has cycles %v instead of %v", g, cycles, want)
		}
		if !slices.Equal(slices.Sorted(slices.Values(order)), roots) {
			t.Fatalf("%v has the order %v", g, order)
		}
		for i, node := range order {
			for _, in := range cut[node] {
				if !slices.Contains(order[:i], in) {
					t.Fatalf("%v has the order %v, in which %d does not follow its input %d", g, order, node, in)
				}
			}
		}
	}
}

// With time that grows with the number of cycles, or with the square of their length, this test would take hours.
func TestManyAndLongCycles(t *testing.T) {
	const n = 1 << 20
	pairs, ring, all := make(graph, n), make(graph, n), make([]int32, n)
	for i := range int32(n) {
		pairs[i], ring[i], all[i] = []int32{i ^ 1}, []int32{(i + 1) % n}, i
	}
	cycles := 0
	if order := pairs.orderAll(all, func([]int32) bool { cycles++; return true }); cycles != n/2 || len(order) != n {
		t.Errorf("%d cycles and %d nodes in order", cycles, len(order))
	}
	if _, cycle := ring.order(all); len(cycle) != n || cycle[0] != 0 || cycle[1] != 1 {
		t.Errorf("a cycle of %d nodes instead of %d", len(cycle), n)
	}
}
