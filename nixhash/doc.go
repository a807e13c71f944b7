// Package nixhash knows digests and the ways in which Nix spells them.
//
// A [Hash] is an algorithm and a digest. Nix writes the same digest in five ways,
// and each has its place:
//
//	ba7816bf8f01cfea…                          base 16, in derivations and fingerprints
//	1b8m03r63zqhnjf7…                          Nix's base 32, in store paths and narinfo files
//	ungWv48Bz+pBQUDe…                          base 64
//	sha256:ba7816bf…                           any of these three after the name of the algorithm
//	sha256-ungWv48Bz+pBQUDe…                   SRI (Subresource Integrity), in expressions and JSON
//
// [Parse] takes all that name their algorithm, [ParseAny] those that may leave it
// out. Which of the three encodings a bare text has is told by its length alone,
// as in Nix.
//
// [Compress] is the XOR-fold that turns the 32 bytes of a SHA-256 into the 20
// bytes of the hash part of a store path.
//
// Source of the formats: src/libutil/hash.cc and base-n.cc in Nix.
package nixhash
