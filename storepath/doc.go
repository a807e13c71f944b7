// Package storepath implements the names of things in a Nix store: store
// directories, store paths, content addresses, placeholders, and the fingerprints
// from which the hash part of a path is computed.
//
// A store path is
//
//	/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt
//	└───┬────┘ └──────────────┬───────────────┘ └───┬───┘
//	store directory       hash part               name
//
// The hash part is 160 bits in Nix's base 32. It is not a hash of the contents. It
// is the SHA-256, folded to 20 bytes, of a short text, the fingerprint
//
//	<type>:<algorithm>:<digest in hex>:<store directory>:<name>
//
// The type determines what the digest covers. [Dir.TextPath], [Dir.SourcePath],
// [Dir.FixedOutputPath] and [Dir.OutputPath] compute the paths of the four types.
// Because the fingerprint contains the store directory, the same contents have
// another path in another store.
//
// A [ContentAddress] identifies the contents of an object independently of how it
// was built: the method ([Text], [Flat], [NAR], [Git]) and the hash.
//
// [Path] and [Dir] are string types: they compare, sort, print and serve as map
// keys. [Parse] and [Dir.Parse] validate. A conversion does not, so convert
// constants only.
//
// Sources: src/libstore/path.cc, store-dir-config.cc and content-address.cc in Nix,
// and "Complete Store Path Calculation" in its manual.
package storepath
