package nixhash

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"

	"pix/nixbase32"
)

// maxSize is the length of the longest digest, that of SHA-512, in bytes.
const maxSize = 64

// A Hash is a digest and the algorithm that made it. It is comparable; the zero
// value is no hash (see [Hash.IsZero]).
type Hash struct {
	algo   Algorithm
	digest [maxSize]byte
}

// FromDigest returns the hash of that algorithm and digest. The error says that
// the algorithm is invalid or the digest has another length than the algorithm's.
func FromDigest(a Algorithm, digest []byte) (Hash, error) {
	if !a.IsValid() || len(digest) != a.Size() {
		return Hash{}, &SyntaxError{hex.EncodeToString(digest[:min(len(digest), maxSize)]), "wrong length for a digest of " + a.String()}
	}
	h := Hash{algo: a}
	copy(h.digest[:], digest)
	return h, nil
}

// FromHash returns what a running hash that a made has come to. It panics if the
// running hash is not one of a's.
func FromHash(a Algorithm, running hash.Hash) Hash {
	h := Hash{algo: a}
	if sum := running.Sum(h.digest[:0]); len(sum) != a.Size() {
		panic("nixhash: the running hash is not one of " + a.String())
	}
	return h
}

// Sum returns the hash of data. It panics if a is invalid.
func Sum(a Algorithm, data []byte) Hash {
	if a == SHA256 {
		return SHA256Hash(sha256.Sum256(data))
	}
	running := a.New()
	running.Write(data)
	return FromHash(a, running)
}

// SHA256Hash returns the hash with that SHA-256 digest.
func SHA256Hash(digest [sha256.Size]byte) Hash {
	h := Hash{algo: SHA256}
	copy(h.digest[:], digest[:])
	return h
}

// IsZero reports whether h is the zero value, which is no hash.
func (h Hash) IsZero() bool { return h.algo == 0 }

// Algorithm returns the algorithm of h.
func (h Hash) Algorithm() Algorithm { return h.algo }

// Digest returns a copy of the digest.
func (h Hash) Digest() []byte { return bytes.Clone(h.bytes()) }

// AppendDigest appends the digest to dst and returns the longer slice.
func (h Hash) AppendDigest(dst []byte) []byte { return append(dst, h.bytes()...) }

func (h *Hash) bytes() []byte { return h.digest[:h.algo.Size()] }

// Compare orders hashes by length of the digest, digest and algorithm, as Nix does.
func (h Hash) Compare(other Hash) int {
	if c := h.algo.Size() - other.algo.Size(); c != 0 {
		return c
	}
	if c := bytes.Compare(h.bytes(), other.bytes()); c != 0 {
		return c
	}
	return int(h.algo) - int(other.algo)
}

// Base16 returns the digest in lower-case hex, without the algorithm.
func (h Hash) Base16() string { return hex.EncodeToString(h.bytes()) }

// AppendBase16 appends what [Hash.Base16] returns to dst and returns the longer slice.
func (h Hash) AppendBase16(dst []byte) []byte { return hex.AppendEncode(dst, h.bytes()) }

// Nix32 returns the digest in Nix's base 32, without the algorithm.
func (h Hash) Nix32() string { return nixbase32.EncodeToString(h.bytes()) }

// Base64 returns the digest in base 64 with padding, without the algorithm.
func (h Hash) Base64() string { return base64.StdEncoding.EncodeToString(h.bytes()) }

// SRI returns the hash as Subresource Integrity has it, such as "sha256-ungWv4…=".
func (h Hash) SRI() string { return h.algo.String() + "-" + h.Base64() }

// WithBase16 returns the algorithm, a colon and the digest in lower-case hex.
func (h Hash) WithBase16() string { return h.algo.String() + ":" + h.Base16() }

// WithNix32 returns the algorithm, a colon and the digest in Nix's base 32.
func (h Hash) WithNix32() string { return h.algo.String() + ":" + h.Nix32() }

// WithBase64 returns the algorithm, a colon and the digest in base 64.
func (h Hash) WithBase64() string { return h.algo.String() + ":" + h.Base64() }

// String returns [Hash.SRI], the spelling of Nix's JSON; "" for the zero value.
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return h.SRI()
}

// MarshalText writes [Hash.String].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what [Parse] reads, and the empty text as the zero value.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h = Hash{}
	if len(text) > 0 {
		*h, err = Parse(string(text))
	}
	return err
}

// Compress folds a digest to size bytes: byte i is XORed onto byte i modulo size.
// Nix makes the 20 bytes of a store path's hash part from SHA-256 so (compressHash
// in src/libutil/hash.cc). It panics unless size is positive.
func Compress(digest []byte, size int) []byte {
	folded := make([]byte, size)
	for i, b := range digest {
		folded[i%size] ^= b
	}
	return folded
}
