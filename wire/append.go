package wire

import "encoding/binary"

// WordSize is the size in bytes to whose multiples everything is padded.
const WordSize = 8

// AppendUint64 appends a number.
func AppendUint64(dst []byte, n uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, n)
}

// AppendBool appends 1 for true and 0 for false.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return AppendUint64(dst, 1)
	}
	return AppendUint64(dst, 0)
}

// AppendString appends a string: length, bytes, padding.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = AppendUint64(dst, uint64(len(s)))
	dst = append(dst, s...)
	return AppendPadding(dst, uint64(len(s)))
}

// AppendStrings appends a list of strings.
func AppendStrings[S ~string](dst []byte, list []S) []byte {
	dst = AppendUint64(dst, uint64(len(list)))
	for _, s := range list {
		dst = AppendString(dst, s)
	}
	return dst
}

// AppendPadding appends the zero bytes that follow n bytes of a string.
func AppendPadding(dst []byte, n uint64) []byte {
	var zero [WordSize]byte
	return append(dst, zero[:PaddingLen(n)]...)
}

// PaddingLen returns the number of zero bytes, 0 to 7, that follow n bytes of a string.
func PaddingLen(n uint64) int { return int(-n % WordSize) }
