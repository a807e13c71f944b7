// Package printable escapes untrusted text before a terminal shows it.
package printable

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns s with control characters and bytes that are not UTF-8 as \x and two hex digits, except line feeds. A terminal
// would obey control characters. Characters that change the direction of text are written as \u and four hex digits, because they
// would show the rest of the line in another order.
func Escape(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\n', 0x7f <= r && r < 0xa0:
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+size])
		}
	}
	return b.String()
}

// Line is Escape for a text on one line: line feeds are \n.
func Line(s string) string { return strings.ReplaceAll(Escape(s), "\n", `\n`) }

// isPlain reports whether s has only characters of ASCII that Escape leaves unchanged.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\n' || c >= 0x7f {
			return false
		}
	}
	return true
}
