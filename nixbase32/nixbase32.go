package nixbase32

import (
	"fmt"

	"pix/internal/firstchar"
)

// Alphabet holds the 32 digits in the order of their values.
const Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

// invalid is the value in digitValues of a byte that is not a digit.
const invalid = 0xff

var digitValues = func() (t [256]byte) {
	for i := range t {
		t[i] = invalid
	}
	for v := range len(Alphabet) {
		t[Alphabet[v]] = byte(v)
	}
	return t
}()

// IsDigit reports whether c is one of the 32 digits of [Alphabet].
func IsDigit(c byte) bool { return digitValues[c] != invalid }

// IsDigits reports whether all bytes of s are digits of [Alphabet].
func IsDigits(s string) bool {
	for i := range len(s) {
		if !IsDigit(s[i]) {
			return false
		}
	}
	return true
}

// EncodedLen returns the length of the encoding of n bytes in characters.
func EncodedLen(n int) int { return (n*8 + 4) / 5 }

// DecodedLen returns the number of bytes that n characters encode. It is exact for
// every n that [EncodedLen] returns.
func DecodedLen(n int) int { return n * 5 / 8 }

// AppendEncode appends the encoding of src to dst and returns the extended slice.
func AppendEncode(dst, src []byte) []byte {
	for n := EncodedLen(len(src)) - 1; n >= 0; n-- {
		i, shift := n*5/8, uint(n*5%8)
		digit := src[i] >> shift
		if i+1 < len(src) {
			digit |= src[i+1] << (8 - shift)
		}
		dst = append(dst, Alphabet[digit&0x1f])
	}
	return dst
}

// EncodeToString returns the encoding of src.
func EncodeToString(src []byte) string {
	var buf [104]byte // the longest digest, of 64 bytes, has 103 characters
	return string(AppendEncode(buf[:0], src))
}

// A SyntaxError reports why and where a text is not valid base 32.
type SyntaxError struct {
	Offset int    // byte offset of the invalid character; for a wrong length, the length
	Reason string // why the text is invalid there
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("base-32 text, offset %d: %s", e.Offset, e.Reason)
}

// DecodeString returns the bytes that s encodes.
//
// It returns a [*SyntaxError] if s contains a character outside the alphabet, has
// a length that no number of bytes encodes to, or sets bits beyond the last byte.
func DecodeString(s string) ([]byte, error) {
	dst := make([]byte, DecodedLen(len(s)))
	if err := Decode(dst, s); err != nil {
		return nil, err
	}
	return dst, nil
}

// Decode decodes s into dst, whose length must be exactly [DecodedLen] of len(s).
// It returns the same errors as [DecodeString].
func Decode(dst []byte, s string) error {
	if len(dst) != DecodedLen(len(s)) || EncodedLen(len(dst)) != len(s) {
		return &SyntaxError{len(s), fmt.Sprintf("%d characters do not encode %d bytes", len(s), len(dst))}
	}
	clear(dst)
	for n := range len(s) {
		at := len(s) - 1 - n
		digit := digitValues[s[at]]
		if digit == invalid {
			return &SyntaxError{at, fmt.Sprintf("character %s is not in the alphabet", firstchar.Quote(s[at:]))}
		}
		i, shift := n*5/8, uint(n*5%8)
		if i < len(dst) {
			dst[i] |= digit << shift
		}
		carry := digit >> (8 - shift)
		if i+1 < len(dst) {
			dst[i+1] |= carry
		} else if carry != 0 || i >= len(dst) && digit != 0 {
			return &SyntaxError{at, "bits are set beyond the last byte"}
		}
	}
	return nil
}
