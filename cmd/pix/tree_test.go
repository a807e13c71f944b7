package main

import "testing"

func BenchmarkTree(b *testing.B) {
	known := randomClosure(10_000)
	paths := sortedPaths(known)
	for b.Loop() {
		t := newTreePrinter(known, 0)
		for _, p := range paths {
			if err := t.print(p); err != nil {
				b.Fatal(err)
			}
		}
	}
}
