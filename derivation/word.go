package derivation

import "math/bits"

// Eight bytes are looked at in one step here, as one word: a byte of the word is zero
// if taking one off it borrows from its highest bit, and less than n if taking n off
// it does ("Bit Twiddling Hacks" by Sean Eron Anderson, haszero and hasless).

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// load64 returns the first eight bytes of s, the first of them lowest. The compiler
// makes one instruction of it.
func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// hasByte returns a word that is zero unless one of the eight bytes is c. The lowest
// bit that is set belongs to the first of them.
func hasByte(word uint64, c byte) uint64 {
	word ^= ones * uint64(c)
	return (word - ones) & ^word & highs
}

// firstOf returns which of sixteen bytes is the first that was found; 16 if none was.
// What was found in each eight is said as [hasByte] says it. Nothing is decided here
// that a processor would have to guess.
func firstOf(low, high uint64) int {
	n := bits.TrailingZeros64(low)
	if low == 0 {
		n = 64 + bits.TrailingZeros64(high)
	}
	return n / 8
}
