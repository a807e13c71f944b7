package derivation

import (
	"math/bits"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// Bits of byteClass: where a byte may stand.
const (
	inHashPart = 1 << iota // of a store path
	inName                 // of a store path
	inHex                  // in lower case
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		if nixbase32.IsDigit(byte(c)) {
			t[c] |= inHashPart
		}
		if storepath.CheckName("x"+string([]byte{byte(c)})) == nil {
			t[c] |= inName
		}
		if strings.IndexByte("0123456789abcdef", byte(c)) >= 0 {
			t[c] |= inHex
		}
	}
	return t
}()

// pairClass has the bits that two bytes have in common. To look at two at once is nearly
// twice as fast, and few of the pairs are ever looked at.
var pairClass = func() (t [1 << 16]uint8) {
	for pair := range t {
		t[pair] = byteClass[pair&0xff] & byteClass[pair>>8]
	}
	return t
}()

// classOf returns the bits that the eight bytes of a word have in common.
func classOf(word uint64) uint8 {
	return pairClass[uint16(word)] & pairClass[uint16(word>>16)] & pairClass[uint16(word>>32)] & pairClass[uint16(word>>48)]
}

// allOf reports whether all bytes of s are of that class. The length of s is a multiple
// of eight.
func allOf(class uint8, s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		class &= classOf(load64(s))
	}
	return class != 0
}

// quotedBaseLen returns how long the last component of a store path is that s begins with
// and that a quote ends; 0 if it begins with none. It is quick, and returns 0 too for some
// that are valid: names that begin with a dot, and those at the very end of the text.
func quotedBaseLen(s string) int {
	const hash = storepath.HashPartLen
	if len(s) < hash+2 || s[hash] != '-' || s[hash+1] == '.' || !allOf(inHashPart, s[:hash]) {
		return 0
	}
	for end := hash + 1; end+8 <= len(s); end += 8 {
		word := load64(s[end : end+8])
		quote := hasByte(word, '"')
		if quote == 0 {
			if classOf(word)&inName == 0 {
				return 0
			}
			continue
		}
		n := bits.TrailingZeros64(quote) / 8
		const letters = ones * 'a' // instead of what is not looked at
		word = word&(1<<(8*n)-1) | letters<<(8*n)
		if end += n; classOf(word)&inName == 0 || end == hash+1 || end > hash+1+storepath.MaxNameLen {
			return 0
		}
		return end
	}
	return 0
}

// plainBaseLen returns how long the last component of a store path is that s begins
// with; 0 if it begins with none, or its name begins with a dot.
func plainBaseLen(s string) int {
	const hash = storepath.HashPartLen
	if len(s) < hash+2 || s[hash] != '-' || s[hash+1] == '.' || !allOf(inHashPart, s[:hash]) {
		return 0
	}
	end := hash + 1
	for end < len(s) && byteClass[s[end]]&inName != 0 {
		end++
	}
	if end == hash+1 || end > hash+1+storepath.MaxNameLen {
		return 0
	}
	return end
}
