package main

import (
	"strings"
	"testing"
)

// copyText handles long lines in pieces, and removes control sequences.
func TestCopyText(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	const progress = "\x1b[31mred\x1b[0m\r\n10%\r50%\r100%\n"
	for _, c := range []struct {
		color, overwrite bool
		text, want       string
	}{
		{false, true, progress + long + "\n\x1b]0;title\x07end", "red\n100%\n" + long + "\nend"},
		{true, true, progress, "\x1b[31mred\x1b[0m\x1b[0m\n100%\n"},
		{false, false, progress, "red\n10%50%100%\n"},
		{true, true, "\x1b[2J\x1b[1;31;48:5:1ma\x1b[Hb\n", "\x1b[1;31;48:5:1mab\x1b[0m\n"},
		{true, true, "\xc2\x1b[K\x9b2J\n", "2J\n"},
		{true, true, "\x1b[", ""},
		{true, true, "\x1b[31\n", "\n"},
	} {
		var b strings.Builder
		if err := copyText(&b, strings.NewReader(c.text), c.color, c.overwrite); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%.40q, %v, %v: got %d bytes, %.40q", c.text, c.color, c.overwrite, b.Len(), b.String())
		}
	}
}
