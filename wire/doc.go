// Package wire knows the primitives that Nix's archives and its protocols share.
//
// There are only three, and all are made of 8-byte words:
//
//   - a number: 64 bits, little-endian, unsigned. Booleans are 0 and 1;
//   - a string: its length in bytes as a number, the bytes, and zero bytes up to the
//     next multiple of 8;
//   - a list: its length as a number, then its elements.
//
// A stream of unknown length is sent in frames: each a number, which is the length
// of the chunk that follows without padding; the number zero ends the stream.
//
// Encoding appends to a byte slice and cannot fail ([AppendUint64], [AppendString],
// [AppendStrings]). Decoding is the work of a [Reader], which trusts nothing: the
// caller says how long a string or list may be, memory grows with the bytes that
// really came, padding must be zero, and every error says at which offset of the
// stream it arose.
//
// Source of the format: src/libutil/serialise.cc in Nix.
package wire
