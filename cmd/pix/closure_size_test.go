package main

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pix/store"
	"pix/storepath"
)

// randomClosure returns n infos, each of which refers to a few of those before.
func randomClosure(n int) map[storepath.Path]*store.PathInfo {
	random := rand.New(rand.NewPCG(5, 6))
	known := make(map[storepath.Path]*store.PathInfo)
	var all []storepath.Path
	for i := range n {
		path, err := storepath.DefaultDir.Parse(fmt.Sprintf("/nix/store/%032d-%d", random.IntN(1000), i))
		if err != nil {
			panic(err)
		}
		all = append(all, path)
		info := &store.PathInfo{Path: path, NARSize: uint64(random.IntN(1000)), References: []storepath.Path{path}}
		for range random.IntN(5) {
			info.References = append(info.References, all[random.IntN(len(all))])
		}
		known[path] = info
	}
	return known
}

// The sizes of all closures together are those of each by itself.
func TestAllClosureSizes(t *testing.T) {
	known := randomClosure(3000)
	sizes, err := allClosureSizes(known)
	if err != nil {
		t.Fatal(err)
	}
	for p := range known {
		var want uint64
		for _, info := range closureIn(known, p) {
			want += info.NARSize
		}
		if sizes[p] != want {
			t.Fatalf("%s has %d, not %d", p, want, sizes[p])
		}
	}
	if none, err := allClosureSizes(nil); err != nil || len(none) != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func BenchmarkAllClosureSizes(b *testing.B) {
	known := randomClosure(10_000)
	for b.Loop() {
		if _, err := allClosureSizes(known); err != nil {
			b.Fatal(err)
		}
	}
}
