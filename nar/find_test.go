package nar_test

import (
	"bytes"
	"strings"
	"testing"

	"pix/nar"
)

func TestFinder(t *testing.T) {
	entries := []nar.Entry{
		{Kind: nar.Directory},
		{Kind: nar.Directory, Depth: 1, Name: "a"},
		{Kind: nar.Directory, Depth: 2, Name: "a"},
		{Kind: nar.Regular, Depth: 3, Name: "b"},
		{Kind: nar.Regular, Depth: 2, Name: "b"},
		{Kind: nar.Directory, Depth: 1, Name: "b"},
		{Kind: nar.Directory, Depth: 2, Name: "a"},
		{Kind: nar.Regular, Depth: 3, Name: "b"},
		{Kind: nar.Regular, Depth: 1, Name: "c"},
	}
	for _, test := range []struct {
		path string
		want string // a letter for each entry: outside, node or inside
	}{
		{"", "niiiiiiii"},
		{"/", "niiiiiiii"},
		{"a", "oniiioooo"},
		{"/a/a", "ooniooooo"},
		{"a/a/b", "ooonooooo"},
		{"a/./x/../b/", "oooonoooo"},
		{"b/a", "oooooonio"},
		{"b/a/b", "ooooooono"},
		{"c", "oooooooon"},
		{"c/a", "ooooooooo"},
		{"b/b", "ooooooooo"},
		{"../c", "oooooooon"},
	} {
		f := nar.NewFinder(test.path)
		var got strings.Builder
		for _, e := range entries {
			got.WriteByte("oni"[f.Match(e)])
		}
		if got.String() != test.want || f.Found() != strings.Contains(test.want, "n") {
			t.Errorf("%q: matches %s, found %t; want %s", test.path, got.String(), f.Found(), test.want)
		}
	}
}

func TestPrefix(t *testing.T) {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	if err := w.Close(); err != nil || !strings.HasPrefix(b.String(), nar.Prefix) {
		t.Errorf("an archive begins with %q, error %v", b.Bytes()[:24], err)
	}
}
