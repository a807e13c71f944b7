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
	before := closure(map[string]uint64{a + "hello-1.0": 1000, a + "gone-3": 2048, a + "same-1": 5, a + "rebuilt-1": 10, a + "two-1": 1, a + "curl-1.0": 1, a + "curl-1.0-bin": 1})
	after := closure(map[string]uint64{b + "hello-1.1": 3000, b + "new": 1 << 20, a + "same-1": 5, b + "rebuilt-1": 10, a + "two-1": 1, b + "two-1": 1, a + "curl-1.0": 1, b + "curl-1.1-bin": 1})
	want := &Diff{
		Packages: []PackageDiff{
			{Name: "curl", Before: []string{"1.0"}, After: []string{"1.0", "1.1"}, PathsBefore: 2, PathsAfter: 2, Removed: 1, Added: 1},
			{Name: "gone", Before: []string{"3"}, PathsBefore: 1, Removed: 1, SizeDelta: -2048},
			{Name: "hello", Before: []string{"1.0"}, After: []string{"1.1"}, PathsBefore: 1, PathsAfter: 1, Removed: 1, Added: 1, SizeDelta: 2000},
			{Name: "new", After: []string{""}, PathsAfter: 1, Added: 1, SizeDelta: 1 << 20},
			{Name: "rebuilt", Before: []string{"1"}, After: []string{"1"}, PathsBefore: 1, PathsAfter: 1, Removed: 1, Added: 1},
			{Name: "two", Before: []string{"1"}, After: []string{"1"}, PathsBefore: 1, PathsAfter: 2, Added: 1, SizeDelta: 1},
		},
		Added: 5, Removed: 4, SizeBefore: 3066, SizeAfter: 1<<20 + 3019,
	}
	if got := Compare(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

func TestPackageOf(t *testing.T) {
	hash := "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-"
	for _, test := range []struct{ name, deriver, pkg, version string }{
		{"curl-8.19.0-bin", "", "curl", "8.19.0"},
		{"glibc-2.40-66-lib64", "", "glibc", "2.40-66"},
		{"x-1.0-2", "", "x", "1.0-2"},
		{"foo-1.0-beta", "foo-1.0-beta.drv", "foo", "1.0-beta"},
		{"foo-1.0-beta-dev", "foo-1.0-beta.drv", "foo", "1.0-beta"},
		{"foo-dev", "foo.drv", "foo", ""},
		{"foo-dev", "", "foo-dev", ""},
		{"other-1", "foo.drv", "other", "1"},
	} {
		o := Object{Path: storepath.Path("/nix/store/" + hash + test.name)}
		if test.deriver != "" {
			o.Deriver = storepath.Path("/nix/store/" + hash + test.deriver)
		}
		if pkg, version := packageOf(o); pkg != test.pkg || version != test.version {
			t.Errorf("%s of %s: %s, %s", test.name, test.deriver, pkg, version)
		}
	}
}
