package localstore

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"pix/nixhash"
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

func BenchmarkAddNAR(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := open(b, Options{Root: b.TempDir()})
			opts := &store.AddOptions{NoSignatures: true}
			n := 0
			for b.Loop() {
				n++
				archive := fileNAR(fmt.Sprint(n, strings.Repeat("x", size)))
				i := info(b, fmt.Sprint("nar-", n))
				i.NARHash, i.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
				if err := s.AddToStoreNAR(b.Context(), i, bytes.NewReader(archive), opts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAddMultiple(b *testing.B) {
	s := open(b, Options{Root: b.TempDir()})
	opts := &store.AddOptions{NoSignatures: true}
	const objects = 200
	n := 0
	for b.Loop() {
		var imports []store.Import
		for range objects {
			n++
			archive := fileNAR(fmt.Sprint(n, strings.Repeat("x", 1000)))
			i := info(b, fmt.Sprint("nar-", n))
			i.NARHash, i.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
			imports = append(imports, store.Import{Info: i, NAR: bytes.NewReader(archive)})
		}
		sequence := func(yield func(store.Import, error) bool) {
			for _, i := range imports {
				if !yield(i, nil) {
					return
				}
			}
		}
		if err := s.AddMultipleToStore(b.Context(), objects, sequence, opts); err != nil {
			b.Fatal(err)
		}
	}
}
