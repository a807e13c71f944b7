// Package firstchar quotes characters for error messages.
package firstchar

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Quote returns the first character of s in single quotes, or as a byte such as 0xff if s does not begin with valid UTF-8.
// Quoting a single byte of a longer character would show a character that is not in s.
func Quote(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case n == 0:
		return "''"
	case r == utf8.RuneError && n == 1:
		return fmt.Sprintf("0x%02x", s[0])
	}
	return strconv.QuoteRune(r)
}
