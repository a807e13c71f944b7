package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pix/store"
	"pix/storepath"
)

func BenchmarkTree(b *testing.B) {
	known := randomClosure(10_000)
	paths := sortedPaths(known)
	for b.Loop() {
		t := newTreePrinter(io.Discard, known, 0)
		for _, p := range paths {
			if err := t.print(p); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestTree(t *testing.T) {
	known := make(map[storepath.Path]*store.PathInfo)
	for p, refs := range map[storepath.Path][]storepath.Path{"a": {"a", "b", "c", "e"}, "b": {"c", "d"}, "c": {"d"}, "d": nil, "e": nil} {
		known[p] = &store.PathInfo{Path: p, References: refs}
	}
	const want = `a
├───c
│   └───d
├───b
│   ├───d [...]
│   └───c [...]
├───e
└───a [...]
`
	var out strings.Builder
	if err := newTreePrinter(&out, known, 0).print("a"); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := newTreePrinter(&out, known, 1).print("b"); err != nil || out.String() != "b\n├───d\n└───c\n" {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A chain that is long would be printed in gigabytes.
func TestDeepTree(t *testing.T) {
	known := make(map[storepath.Path]*store.PathInfo)
	name := func(i int) storepath.Path {
		p, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-x", i))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const n = 100_000
	for i := range n {
		known[name(i)] = &store.PathInfo{Path: name(i), References: []storepath.Path{name(min(i+1, n-1)), name(n - 1)}}
	}
	var out strings.Builder
	if err := newTreePrinter(&out, known, 0).print(name(0)); err == nil || !strings.Contains(err.Error(), "--depth") || out.Len() > 20<<20 {
		t.Errorf("%v after %d bytes", err, out.Len())
	}
	if err := newTreePrinter(io.Discard, known, 1000).print(name(0)); err != nil {
		t.Error(err)
	}
}
