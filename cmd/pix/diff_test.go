package main

import (
	"math"
	"testing"

	"pix/store"
	"pix/storepath"
)

func TestSplitVersion(t *testing.T) {
	for name, want := range map[string][2]string{
		"hello-2.12.2":           {"hello", "2.12.2"},
		"hello-2.12.2-dev":       {"hello", "2.12.2-dev"},
		"bash-interactive-5.2p1": {"bash-interactive", "5.2p1"},
		"source":                 {"source", ""},
		"x-":                     {"x-", ""},
		"a--b":                   {"a", "-b"},
		"":                       {"", ""},
	} {
		if pkg, version := splitVersion(name); pkg != want[0] || version != want[1] {
			t.Errorf("%q is split into %q and %q, want %q", name, pkg, version, want)
		}
	}
}

func TestDiffClosures(t *testing.T) {
	closure := func(sizes map[string]uint64) map[storepath.Path]*store.PathInfo {
		infos := make(map[storepath.Path]*store.PathInfo)
		for base, size := range sizes {
			p, err := storepath.DefaultDir.ParseBase(base)
			if err != nil {
				t.Fatal(err)
			}
			infos[p] = &store.PathInfo{Path: p, NARSize: size}
		}
		return infos
	}
	a := "a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"
	b := "b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"
	before := closure(map[string]uint64{a + "hello-1.0": 1000, a + "gone-3": 2048, a + "same-1": 5, a + "rebuilt-1": 10})
	after := closure(map[string]uint64{b + "hello-1.1": 3000, b + "new": 1 << 20, a + "same-1": 5, b + "rebuilt-1": 10})
	const want = `gone: removed 3, -2.0 KiB
hello: 1.0 -> 1.1, +2.0 KiB
new: added (no version), +1.0 MiB
rebuilt: 1, 1 -> 1 paths
3 paths added, 3 removed; 3.0 KiB -> 1.0 MiB, +1.0 MiB
`
	if got := diffClosures(before, after).String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1 << 40: "1.0 TiB", math.MaxUint64: "16777216.0 TiB"} {
		if got := humanSize(n); got != want {
			t.Errorf("humanSize(%d) = %q, want %q", n, got, want)
		}
	}
}
