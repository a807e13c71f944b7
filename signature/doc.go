// Package signature knows who vouches for a store object, and how.
//
// Whoever built or checked an object may sign it with a key of their own. Stores that
// trust the key then take the object from anybody. Keys are ed25519 keys with a name, and
// keys and signatures are spelled alike, as the name, a colon and base 64:
//
//	cache.example.org-1:tU7tTvLc…   a secret key: 64 bytes, the seed and the public key
//	cache.example.org-1:rAWTx0no…   a public key: 32 bytes
//	cache.example.org-1:WsjxK4/E…   a signature: 64 bytes
//
// The name says which of the trusted keys to try; it is no part of what is signed, and so
// proves nothing.
//
// What is signed is not the object but a short text about it, its fingerprint. That of a
// path info ([PathFingerprint]) says all that matters to whoever refers to the object:
//
//	1;/nix/store/<path>;sha256:<NAR hash in base 32>;<NAR size>;<references, with commas>
//
// The deriver, the content address and the place of the archive are not in it. That of a
// realisation says that an output of a derivation is a certain path; it is a JSON text,
// of which there are two ([RealisationFingerprint], [OldRealisationFingerprint]).
//
// A [KeySet] is a set of trusted public keys.
//
// Sources: src/libutil/signature/local-keys.cc, src/libstore/path-info.cc and
// realisation.cc in Nix.
package signature
