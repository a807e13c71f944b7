package derivation

import (
	"math/bits"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// The bits of byteClass say where a byte is valid.
const (
	inHashPart = 1 << iota // in the hash part of a store path
	inName                 // in the name of a store path
	inHex                  // in lower-case hex
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

// pairClass has the common bits of two bytes. Looking up two bytes at once is nearly twice as
// fast. Few of the pairs occur, so the used part of the table stays in the cache.
var pairClass = func() (t [1 << 16]uint8) {
	for pair := range t {
		t[pair] = byteClass[pair&0xff] & byteClass[pair>>8]
	}
	return t
}()

// classOf returns the common bits of the eight bytes of a word.
func classOf(word uint64) uint8 {
	return pairClass[uint16(word)] & pairClass[uint16(word>>16)] & pairClass[uint16(word>>32)] & pairClass[uint16(word>>48)]
}

// allOf reports whether all bytes of s have that class. The length of s must be a multiple of
// eight.
func allOf(class uint8, s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		class &= classOf(load64(s))
	}
	return class != 0
}

// quotedBaseLen returns the length of the last component of a store path at the start of s, if a
// quote follows it, or else 0. For speed it also returns 0 for some valid components: names that
// begin with a dot, and components at the very end of the text.
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
		const letters = ones * 'a' // replaces the bytes from the quote on
		word = word&(1<<(8*n)-1) | letters<<(8*n)
		if end += n; classOf(word)&inName == 0 || end == hash+1 || end > hash+1+storepath.MaxNameLen {
			return 0
		}
		return end
	}
	return 0
}

// plainBaseLen returns the length of the last component of a store path at the start of s. It
// returns 0 if there is none, or if its name begins with a dot.
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

// These functions process eight bytes at a time as one word. Subtracting 1 from a zero byte
// borrows from its highest bit, which finds zero bytes ("Bit Twiddling Hacks" by Sean Eron
// Anderson, haszero).

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// load64 returns the first eight bytes of s as a little-endian word. The compiler turns it into a
// single load.
func load64(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// hasByte returns 0 if none of the eight bytes is c. Otherwise its lowest set bit belongs to the
// first such byte.
func hasByte(word uint64, c byte) uint64 {
	word ^= ones * uint64(c)
	return (word - ones) & ^word & highs
}

// firstOf returns the index of the first byte found among sixteen, or 16 if there is none. low and
// high are the results of [hasByte] for the two halves. It avoids branches that the
// processor would predict wrongly.
func firstOf(low, high uint64) int {
	n := bits.TrailingZeros64(low)
	if low == 0 {
		n = 64 + bits.TrailingZeros64(high)
	}
	return n / 8
}
