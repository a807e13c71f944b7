package main

import (
	"strings"
	"testing"
)

// copyPlain removes control sequences, and handles long lines in pieces.
func TestCopyPlain(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	var b strings.Builder
	if err := copyPlain(&b, strings.NewReader("\x1b[31mred\x1b[0m\r\n"+long+"\n\x1b]0;title\x07end")); err != nil {
		t.Fatal(err)
	}
	if want := "red\n" + long + "\nend"; b.String() != want {
		t.Errorf("got %d bytes, want %d; they begin with %q", b.Len(), len(want), b.String()[:10])
	}
}
