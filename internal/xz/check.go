package xz

import (
	"crypto/sha256"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"slices"
)

// Methods of the checks at the end of blocks.
const (
	checkNone   = 0x00
	checkCRC32  = 0x01
	checkCRC64  = 0x04
	checkSHA256 = 0x0a
)

var crc64Table = crc64.MakeTable(crc64.ECMA)

// checkSize returns the number of bytes of a check. It is defined for unknown methods too.
func checkSize(id byte) int {
	return [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[id&0xf]
}

// newCheck returns the hash of a method, or nil if there is none.
func newCheck(id byte) hash.Hash {
	switch id {
	case checkCRC32:
		return crc32.NewIEEE()
	case checkCRC64:
		return crc64.New(crc64Table)
	case checkSHA256:
		return sha256.New()
	}
	return nil
}

// checkSum returns the bytes of a check. A CRC begins with its lowest byte.
func checkSum(h hash.Hash, id byte) []byte {
	sum := h.Sum(nil)
	if id != checkSHA256 {
		slices.Reverse(sum)
	}
	return sum
}
