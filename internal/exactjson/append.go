package exactjson

import (
	"fmt"
	"strings"
)

// AppendString appends s as a JSON string, with the same escapes as Nix's JSON library: only quotes,
// backslashes and control characters have them. encoding/json escapes more characters. Bytes that are not
// UTF-8 are appended unchanged.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if n := strings.IndexByte("\"\\\b\f\n\r\t", c); n >= 0 {
			dst = append(dst, '\\', `"\bfnrt`[n])
		} else {
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
