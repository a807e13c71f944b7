// Package storepath knows the names of things in a Nix store: store directories,
// store paths, content addresses, placeholders, and the fingerprints from which
// the hash part of a path is computed.
//
// A store path is
//
//	/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
//	└───┬────┘ └──────────────┬───────────────┘ └───┬───┘
//	store directory       hash part               name
//
// The hash part is 160 bits in Nix's base 32. It is no hash of the contents: it is
// the SHA-256, folded to 20 bytes, of a short text, the fingerprint
//
//	<type>:<algorithm>:<digest in hex>:<store directory>:<name>
//
// whose type says what the digest is of. [Dir.TextPath], [Dir.SourcePath],
// [Dir.FixedOutputPath] and [Dir.OutputPath] are the four that exist; the store
// directory stands in the text, so that the same contents have another path in
// another store.
//
// A [ContentAddress] says which contents an object has, however it was made: the
// method ([Text], [Flat], [NAR], [Git]) and the hash.
//
// [Path] and [Dir] are strings, so that they compare, sort, print and serve as map
// keys. [Parse] and [Dir.Parse] validate; a conversion does not, and is for
// constants alone.
//
// Sources: src/libstore/path.cc, store-dir-config.cc and content-address.cc in Nix,
// and "Complete Store Path Calculation" in its manual.
package storepath
