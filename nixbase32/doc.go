// Package nixbase32 knows how Nix spells bytes in base 32.
//
// Nix's base 32 is neither of the two in RFC 4648. It differs in two ways:
//
//   - The alphabet has the ten digits and the lower-case letters without e, o, u
//     and t (see [Alphabet]), so that no hash spells a rude word.
//   - The digest is read as one little-endian number and its digits are written
//     with the most significant first. The first character of the text therefore
//     holds the last bits of the last byte, and a common prefix of two digests is
//     a common suffix of their spellings.
//
// n bytes make ⌈8n/5⌉ characters: 20 bytes (the hash part of a store path) make
// exactly 32, and 32 bytes (SHA-256) make 52, whose first character has four
// bits more than there are bytes to fill. These bits must be zero; a text in
// which they are not is refused, as Nix refuses it, so that every digest has one
// spelling only.
//
// Source of the format: src/libutil/base-nix-32.cc in Nix.
package nixbase32
