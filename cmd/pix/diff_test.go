package main

import (
	"testing"

	"pix/closure"
)

func TestClosureDiffText(t *testing.T) {
	d := &closure.Diff{
		Packages: []closure.PackageDiff{
			{Name: "gone", Before: []string{"3"}, PathsBefore: 1, Removed: 1, SizeDelta: -2048},
			{Name: "hello", Before: []string{"1.0"}, After: []string{"1.1"}, PathsBefore: 1, PathsAfter: 1, Removed: 1, Added: 1, SizeDelta: 2000},
			{Name: "new", After: []string{""}, PathsAfter: 1, Added: 1, SizeDelta: 1 << 20},
			{Name: "rebuilt", Before: []string{"1"}, After: []string{"1"}, PathsBefore: 1, PathsAfter: 1, Removed: 1, Added: 1},
			{Name: "two", Before: []string{"1"}, After: []string{"1"}, PathsBefore: 1, PathsAfter: 2, Added: 1, SizeDelta: 120},
		},
		Added: 3, Removed: 3, SizeBefore: 3063, SizeAfter: 1<<20 + 3015,
	}
	const want = `gone: removed 3, -2.0 KiB
hello: 1.0 -> 1.1, +2.0 KiB
new: added (no version), +1.0 MiB
rebuilt: 1, rebuilt
two: 1, 1 -> 2 paths, +120 bytes
3 paths added, 3 removed; 3.0 KiB -> 1.0 MiB, +1.0 MiB
`
	if got := closureDiffText(d); got != want {
		t.Errorf("the text is\n%s\nwant\n%s", got, want)
	}
}
