// Package signature implements the keys and signatures with which Nix authenticates store
// objects.
//
// The builder of an object, or anybody who checked it, may sign it with a key. A store that
// trusts the key then accepts the object from any source. Keys are ed25519 keys with a name.
// Keys and signatures have the same text form, a name, a colon and base 64:
//
//	cache.example.org-1:tU7tTvLc…   a secret key: 64 bytes, the seed and the public key
//	cache.example.org-1:rAWTx0no…   a public key: 32 bytes
//	cache.example.org-1:WsjxK4/E…   a signature: 64 bytes
//
// The name selects the trusted key that verifies the signature. It is not signed, so it
// proves nothing.
//
// A signature covers a short text about the object, its fingerprint, and not the object
// itself. The fingerprint of a path info ([PathFingerprint]) has the store path, the hash and
// size of the archive, and the references:
//
//	1;/nix/store/<path>;sha256:<NAR hash in base 32>;<NAR size>;<references, with commas>
//
// It does not cover the deriver, the content address and the location of the archive. The
// fingerprint of a realisation states that an output of a derivation has a certain path. It
// is a JSON text and has two forms ([RealisationFingerprint], [OldRealisationFingerprint]).
//
// A [KeySet] is a set of trusted public keys.
//
// Sources: src/libutil/signature/local-keys.cc, src/libstore/path-info.cc and
// realisation.cc in Nix.
package signature
