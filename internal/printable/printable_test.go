package printable

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"plain ~", "plain ~"},
		{"a\nb", "a\nb"},
		{"a\x1b[2Jb", `a\x1b[2Jb`},
		{"tab\tdel\x7f", `tab\x09del\x7f`},
		{"\xff\xfe", `\xff\xfe`},
		{"\u0085", `\xc2\x85`},
		{"grün 日本", "grün 日本"},
		{"\ufffd", "\ufffd"},
		{"a\u202eb\u2066c", `a\u202eb\u2066c`},
		{"a\u2028b", `a\u2028b`},
	} {
		if got := Escape(c.text); got != c.want {
			t.Errorf("Escape(%q) = %q, want %q", c.text, got, c.want)
		}
	}
	if got := Line("a\nb"); got != `a\nb` {
		t.Errorf("Line = %q", got)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[2Jb\n\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		line := Line(s)
		if !utf8.ValidString(line) || strings.ContainsAny(line, "\x00\x07\x1b\n\r\x7f\u009b\u202e") {
			t.Errorf("Line(%q) = %q", s, line)
		}
	})
}
