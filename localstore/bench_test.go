package localstore

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"pix/store"
	"pix/storepath"
)

// fill registers n paths that lie nowhere, each of which refers to some before it.
func fill(b testing.TB, s *Store, n int) []storepath.Path {
	b.Helper()
	infos := make([]*store.PathInfo, n)
	paths := make([]storepath.Path, n)
	for i := range infos {
		var references []storepath.Path
		for d := 1; d <= 1<<12 && d <= i; d *= 4 {
			references = append(references, paths[i-d])
		}
		infos[i] = info(b, fmt.Sprint("filler-", i), references...)
		paths[i] = infos[i].Path
	}
	if err := s.registerValidPaths(b.Context(), infos...); err != nil {
		b.Fatal(err)
	}
	return paths
}

func BenchmarkOpen(b *testing.B) {
	root := b.TempDir()
	s := open(b, Options{Root: root})
	fill(b, s, 100_000)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(b.Context(), &Options{Root: root})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddText(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			s := open(b, Options{Root: b.TempDir()})
			text := strings.Repeat("some text\n", 100)
			var n atomic.Int64
			b.SetParallelism(clients)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.AddTextToStore(b.Context(), fmt.Sprint("text-", n.Add(1)), text, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkQueryPathInfo(b *testing.B) {
	s := open(b, Options{Root: b.TempDir()})
	paths := fill(b, s, 10_000)
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			var n atomic.Int64
			b.SetParallelism(clients)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.QueryPathInfo(b.Context(), paths[n.Add(7)%int64(len(paths))]); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func BenchmarkClosure(b *testing.B) {
	s := open(b, Options{Root: b.TempDir()})
	paths := fill(b, s, 10_000)
	for b.Loop() {
		n := 0
		for _, err := range store.Closure(b.Context(), s, paths[len(paths)-1]) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != len(paths) {
			b.Fatalf("%d paths", n)
		}
	}
}

// A dry run over 100,000 dead paths.
func BenchmarkDryRun(b *testing.B) {
	s := open(b, Options{Root: b.TempDir(), NoSync: true})
	const n = 100_000
	fillStore(b, s, n, false)
	for b.Loop() {
		result, err := s.CollectGarbage(b.Context(), store.GCOptions{Action: store.GCReturnDead, MaxFreed: math.MaxUint64})
		if err != nil || len(result.Paths) != n {
			b.Fatal(err)
		}
	}
}
