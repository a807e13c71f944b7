package nixbase32

import "fmt"

// Alphabet holds the 32 digits in the order of their values.
const Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

// invalid marks the bytes that are no digit in [values].
const invalid = 0xff

var values = func() (t [256]byte) {
	for i := range t {
		t[i] = invalid
	}
	for v := range len(Alphabet) {
		t[Alphabet[v]] = byte(v)
	}
	return t
}()

// IsDigit reports whether c is one of the 32 digits of [Alphabet].
func IsDigit(c byte) bool { return values[c] != invalid }

// EncodedLen returns the number of characters that n bytes make.
func EncodedLen(n int) int { return (n*8 + 4) / 5 }

// DecodedLen returns the number of bytes that n characters make. It is exact for
// every n that [EncodedLen] returns.
func DecodedLen(n int) int { return n * 5 / 8 }

// AppendEncode appends the spelling of src to dst and returns the longer slice.
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

// EncodeToString returns the spelling of src.
func EncodeToString(src []byte) string {
	var room [104]byte // a 64-byte digest, the longest in use, makes 103 characters
	return string(AppendEncode(room[:0], src))
}

// A SyntaxError says why a text is not base 32, and where.
type SyntaxError struct {
	Offset int    // of the character at fault; for a wrong length, the length
	Reason string // what is wrong with it
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("base-32 text, offset %d: %s", e.Offset, e.Reason)
}

// DecodeString returns the bytes that s spells.
//
// The error is a [*SyntaxError] for a character that is no digit, for a length
// that no number of bytes has, and for bits set beyond the last byte.
func DecodeString(s string) ([]byte, error) {
	dst := make([]byte, DecodedLen(len(s)))
	if err := Decode(dst, s); err != nil {
		return nil, err
	}
	return dst, nil
}

// Decode writes the bytes that s spells to dst, which must have room for exactly
// [DecodedLen] of len(s) bytes. Its errors are those of [DecodeString].
func Decode(dst []byte, s string) error {
	if len(dst) != DecodedLen(len(s)) || EncodedLen(len(dst)) != len(s) {
		return &SyntaxError{len(s), fmt.Sprintf("%d characters do not spell %d bytes", len(s), len(dst))}
	}
	clear(dst)
	for n := range len(s) {
		at := len(s) - 1 - n
		digit := values[s[at]]
		if digit == invalid {
			return &SyntaxError{at, fmt.Sprintf("character %q is not in the alphabet", s[at])}
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
