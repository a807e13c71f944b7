package main

import (
	"strings"
	"testing"
)

// A log can neither take over a terminal nor be held in memory because of one long line.
func TestCopyPlain(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	var b strings.Builder
	if err := copyPlain(&b, strings.NewReader("\x1b[31mred\x1b[0m\r\n"+long+"\n\x1b]0;title\x07end")); err != nil {
		t.Fatal(err)
	}
	if want := "red\n" + long + "\nend"; b.String() != want {
		t.Errorf("%d bytes instead of %d, beginning with %q", b.Len(), len(want), b.String()[:10])
	}
}
