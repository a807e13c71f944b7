// Package wire implements the encoding that Nix's archives and protocols share.
//
// It consists of 8-byte words and has three primitives:
//
//   - a number: 64 bits, little-endian, unsigned. Booleans are 0 and 1;
//   - a string: its length in bytes as a number, the bytes, and zero bytes up to the
//     next multiple of 8;
//   - a list: its length as a number, then its elements.
//
// A stream of unknown length is sent in frames. Each frame is the length of a chunk as
// a number, followed by the chunk without padding. A frame of length zero ends the
// stream.
//
// Encoding appends to a byte slice and cannot fail ([AppendUint64], [AppendString],
// [AppendStrings]). A [Reader] decodes, and trusts nothing: the caller limits the length
// of a string or list, memory grows with the bytes that really arrived, padding must be
// zero, and every error has its offset in the stream.
//
// Format: src/libutil/serialise.cc in Nix.
package wire
