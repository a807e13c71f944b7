package nar

import (
	"encoding/binary"

	"pix/nixbase32"
	"pix/storepath"
)

// hashLen is the length of a hash part in bytes.
const hashLen = storepath.HashPartLen

// eachWindow calls f with every offset in b at which hashLen base-32 digits begin.
//
// It checks the last byte of a window first. Most bytes are not digits. If this one is not,
// no hash part can contain it, so eachWindow skips all windows that do.
func eachWindow(b []byte, f func(at int)) {
	digits := 0 // number of bytes from at on that are known to be digits
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

// A hintSet is a small filter for hash parts. It rejects most texts that are not in the set
// without looking them up in a map. It stores a 16-bit hash of the last 8 characters of each
// hash part.
type hintSet [1 << 16 / 64]uint64

func (s *hintSet) add(hash string) {
	h := hint([]byte(hash))
	s[h/64] |= 1 << (h % 64)
}

// mayContain returns false only if the hash part in b was not added.
func (s *hintSet) mayContain(b []byte) bool {
	h := hint(b)
	return s[h/64]&(1<<(h%64)) != 0
}

func hint(b []byte) uint64 {
	const multiplier = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return binary.LittleEndian.Uint64(b[hashLen-8:hashLen]) * multiplier >> 48
}
