package nixhash

import (
	"fmt"
	"strings"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decodeBase64 fills dst with the bytes that s spells, and fails if they are fewer
// or more. It is as lenient as Nix, which encoding/base64 is not: line feeds are
// passed over, padding may be missing and ends the text, and bits left over
// after the last byte may be set.
func decodeBase64(dst []byte, s string) error {
	var bits, n int
	var word uint32
	for i := range len(s) {
		if s[i] == '=' {
			break
		}
		if s[i] == '\n' {
			continue
		}
		digit := strings.IndexByte(base64Alphabet, s[i])
		if digit < 0 {
			return fmt.Errorf("invalid base-64 character %q at offset %d", s[i], i)
		}
		word = word<<6 | uint32(digit)
		if bits += 6; bits >= 8 {
			bits -= 8
			if n < len(dst) {
				dst[n] = byte(word >> bits)
			}
			n++
		}
	}
	if n != len(dst) {
		return fmt.Errorf("length %d is not the expected length %d", n, len(dst))
	}
	return nil
}
