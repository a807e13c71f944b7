// Package nixbase64 decodes base 64 as leniently as Nix does.
//
// It accepts what encoding/base64 rejects: line feeds anywhere (so that a key file may end
// with one), missing padding, any text after the first padding character, and set bits
// after the last byte.
package nixbase64

import (
	"encoding/base64"
	"fmt"
)

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// invalid is the value in digitValues of a byte that is not a digit.
const invalid = 0xff

var digitValues = func() (t [256]byte) {
	for i := range t {
		t[i] = invalid
	}
	for v := range len(alphabet) {
		t[alphabet[v]] = byte(v)
	}
	return t
}()

// Digit returns the value of a digit. ok is false if c is not a digit.
func Digit(c byte) (value byte, ok bool) {
	value = digitValues[c]
	return value, value != invalid
}

// Decode decodes s into dst and returns the number of bytes that s encodes. If dst is
// shorter, the bytes that do not fit are discarded.
//
// The error for an invalid character has its offset, but not the character, because s may
// be a secret key.
func Decode(dst []byte, s string) (n int, err error) {
	var word uint32
	var bits int
	for i := range len(s) {
		if s[i] == '=' {
			break
		}
		if s[i] == '\n' {
			continue
		}
		digit, ok := Digit(s[i])
		if !ok {
			return n, fmt.Errorf("invalid base-64 character at offset %d", i)
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
	return n, nil
}

// DecodeString returns the bytes that s encodes. It returns the same errors as [Decode].
func DecodeString(s string) ([]byte, error) {
	dst := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := Decode(dst, s)
	if err != nil {
		return nil, err
	}
	return dst[:n], nil
}
