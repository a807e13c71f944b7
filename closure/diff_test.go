package closure

import (
	"reflect"
	"testing"

	"pix/store"
	"pix/storepath"
)

func TestSplitName(t *testing.T) {
	for name, want := range map[string][2]string{
		"hello-2.12.2":           {"hello", "2.12.2"},
		"hello-2.12.2-dev":       {"hello", "2.12.2-dev"},
		"bash-interactive-5.2p1": {"bash-interactive", "5.2p1"},
		"source":                 {"source", ""},
		"x-":                     {"x-", ""},
		"a--b":                   {"a", "-b"},
		"":                       {"", ""},
	} {
		if pkg, version := SplitName(name); pkg != want[0] || version != want[1] {
			t.Errorf("%q is split into %q and %q, want %q", name, pkg, version, want)
		}
	}
}

func TestCompare(t *testing.T) {
	closure := func(sizes map[string]uint64) *Closure {
		var infos []*store.PathInfo
		for base, size := range sizes {
			p, err := storepath.DefaultDir.ParseBase(base)
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, &store.PathInfo{Path: p, NARSize: size})
		}
		return closureOf(t, infos)
	}
	a := "a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"
	b := "b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"
	before := closure(map[string]uint64{a + "hello-1.0": 1000, a + "gone-3": 2048, a + "same-1": 5, a + "rebuilt-1": 10})
	after := closure(map[string]uint64{b + "hello-1.1": 3000, b + "new": 1 << 20, a + "same-1": 5, b + "rebuilt-1": 10})
	want := &Diff{
		Packages: []PackageDiff{
			{Name: "gone", Before: []string{"3"}, Removed: 1, SizeDelta: -2048},
			{Name: "hello", Before: []string{"1.0"}, After: []string{"1.1"}, Removed: 1, Added: 1, SizeDelta: 2000},
			{Name: "new", After: []string{""}, Added: 1, SizeDelta: 1 << 20},
			{Name: "rebuilt", Before: []string{"1"}, After: []string{"1"}, Removed: 1, Added: 1},
		},
		Added: 3, Removed: 3, SizeBefore: 3063, SizeAfter: 1<<20 + 3015,
	}
	if got := Compare(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}
