package signature

import (
	"encoding/base64"
	"fmt"
)

// notDigit marks the bytes that are no digit in [digits].
const notDigit = 0xff

var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = notDigit
	}
	for v, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(v)
	}
	return t
}()

// decodeBase64 returns the bytes that s spells. It is as lenient as Nix, which
// encoding/base64 is not: line feeds are passed over (so that a key file may end in one),
// padding may be missing and ends the text, and bits left over after the last byte are
// ignored.
func decodeBase64(s string) ([]byte, error) {
	b := make([]byte, 0, base64.RawStdEncoding.DecodedLen(len(s)))
	var word uint32
	var bits int
	for i := range len(s) {
		if s[i] == '=' {
			break
		}
		if s[i] == '\n' {
			continue
		}
		digit := digits[s[i]]
		if digit == notDigit {
			return nil, fmt.Errorf("base 64 has no character like the one at offset %d", i)
		}
		word = word<<6 | uint32(digit)
		if bits += 6; bits >= 8 {
			bits -= 8
			b = append(b, byte(word>>bits))
		}
	}
	return b, nil
}

// encodedLen is the length of a signature in base 64.
const encodedLen = 88

// isCanonical reports whether s is what the 64 bytes of a signature are printed as. It
// says no for all other lengths.
func isCanonical(s string) bool {
	if len(s) != encodedLen || s[encodedLen-2:] != "==" {
		return false
	}
	for _, c := range []byte(s[:encodedLen-2]) {
		if digits[c] == notDigit {
			return false
		}
	}
	// 86 digits are 4 bits more than 64 bytes.
	return digits[s[encodedLen-3]]&0xf == 0
}
