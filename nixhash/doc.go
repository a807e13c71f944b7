// Package nixhash implements digests and the text forms in which Nix writes them.
//
// A [Hash] is an algorithm and a digest. Nix writes it in five forms:
//
//	ba7816bf8f01cfea…                          base 16, in derivations and fingerprints
//	1b8m03r63zqhnjf7…                          Nix's base 32, in store paths and narinfo files
//	ungWv48Bz+pBQUDe…                          base 64
//	sha256:ba7816bf…                           any of these three after the name of the algorithm
//	sha256-ungWv48Bz+pBQUDe…                   SRI (Subresource Integrity), in expressions and JSON
//
// [Parse] reads every form that names the algorithm, [ParseAny] also the forms that
// do not. The length of a bare digest determines its encoding, as in Nix.
//
// [Compress] is the XOR-fold that turns the 32 bytes of a SHA-256 into the 20
// bytes of the hash part of a store path.
//
// Formats: src/libutil/hash.cc and base-n.cc in Nix.
package nixhash
