// Package nixbase32 implements Nix's base-32 encoding.
//
// Nix's base 32 differs from both encodings in RFC 4648:
//
//   - The alphabet is the ten digits and the lower-case letters without e, o, u
//     and t (see [Alphabet]), so that no hash spells a rude word.
//   - The digest is read as one little-endian number, and its digits are written
//     with the most significant first. The first character of the text therefore
//     holds the last bits of the last byte, and a common prefix of two digests is
//     a common suffix of their encodings.
//
// n bytes encode to ⌈8n/5⌉ characters: 20 bytes (the hash part of a store path) to
// exactly 32, and 32 bytes (SHA-256) to 52. 52 characters hold four bits more than
// 32 bytes do. These bits must be zero: decoding rejects a text in which they are
// not, as Nix does, so that every digest has exactly one encoding.
//
// Format: src/libutil/base-nix-32.cc in Nix.
package nixbase32
