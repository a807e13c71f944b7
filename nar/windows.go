package nar

import (
	"encoding/binary"

	"pix/nixbase32"
	"pix/storepath"
)

// hashLen is the length in bytes of a hash part, by which references are recognised.
const hashLen = storepath.HashPartLen

// eachWindow calls f with every place of b at which hashLen base-32 digits follow.
//
// It looks at the last of them first. If that is no digit, which is true of most
// bytes, none of the places that it is a part of can be the beginning of a hash part,
// and all are passed over at once.
func eachWindow(b []byte, f func(at int)) {
	digits := 0 // how many bytes from at on are known to be digits
	for at := 0; len(b)-at >= hashLen; {
		window := (*[hashLen]byte)(b[at:])
		i := hashLen - 1
		for i >= digits && isDigit[window[i]] {
			i--
		}
		if i >= digits {
			at, digits = at+i+1, hashLen-1-i
			continue
		}
		f(at)
		at, digits = at+1, hashLen-1
	}
}

var isDigit = func() (t [256]bool) {
	for c := range t {
		t[c] = nixbase32.IsDigit(byte(c))
	}
	return t
}()

// A hintSet dismisses quickly most of what looks like a hash part but is none of those
// that somebody looks for. It knows 16 bits that are made of the last 8 characters of
// each.
type hintSet [1 << 16 / 64]uint64

func (s *hintSet) add(hash string) {
	h := hint([]byte(hash))
	s[h/64] |= 1 << (h % 64)
}

// mayHave reports false if the hash part in b was not added.
func (s *hintSet) mayHave(b []byte) bool {
	h := hint(b)
	return s[h/64]&(1<<(h%64)) != 0
}

func hint(b []byte) uint64 {
	const multiplier = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return binary.LittleEndian.Uint64(b[hashLen-8:hashLen]) * multiplier >> 48
}
