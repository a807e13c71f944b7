package nixhash

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"

	"pix/nixbase32"
)

// maxSize is the length of the longest digest, SHA-512's, in bytes.
const maxSize = 64

// A Hash is a digest and its algorithm. It is comparable. The zero value is not a
// hash (see [Hash.IsZero]).
type Hash struct {
	algo   Algorithm
	digest [maxSize]byte
}

// FromDigest returns the hash with that algorithm and digest. It returns a
// [*SyntaxError] if a is invalid or the digest does not have the length of a.
func FromDigest(a Algorithm, digest []byte) (Hash, error) {
	if !a.IsValid() || len(digest) != a.Size() {
		return Hash{}, &SyntaxError{hex.EncodeToString(digest[:min(len(digest), maxSize)]), "wrong length for a digest of " + a.String()}
	}
	h := Hash{algo: a}
	copy(h.digest[:], digest)
	return h, nil
}

// FromHash returns the sum of running, which must come from [Algorithm.New] of a.
// It panics if the sum does not have the length of a.
func FromHash(a Algorithm, running hash.Hash) Hash {
	h := Hash{algo: a}
	if sum := running.Sum(h.digest[:0]); len(sum) != a.Size() {
		panic("nixhash: the size of the running hash does not fit " + a.String())
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

// SHA256Hash returns the hash with the given SHA-256 digest.
func SHA256Hash(digest [sha256.Size]byte) Hash {
	h := Hash{algo: SHA256}
	copy(h.digest[:], digest[:])
	return h
}

// IsZero reports whether h is the zero value.
func (h Hash) IsZero() bool { return h.algo == 0 }

// Algorithm returns the algorithm of h.
func (h Hash) Algorithm() Algorithm { return h.algo }

// Digest returns a copy of the digest.
func (h Hash) Digest() []byte { return bytes.Clone(h.bytes()) }

// AppendDigest appends the digest to dst and returns the extended slice.
func (h Hash) AppendDigest(dst []byte) []byte { return append(dst, h.bytes()...) }

func (h *Hash) bytes() []byte { return h.digest[:h.algo.Size()] }

// Compare orders hashes by the length of the digest, then by digest, then by
// algorithm, as Nix does.
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

// AppendBase16 appends [Hash.Base16] to dst and returns the extended slice.
func (h Hash) AppendBase16(dst []byte) []byte { return hex.AppendEncode(dst, h.bytes()) }

// Nix32 returns the digest in Nix's base 32, without the algorithm.
func (h Hash) Nix32() string { return nixbase32.EncodeToString(h.bytes()) }

// Base64 returns the digest in base 64 with padding, without the algorithm.
func (h Hash) Base64() string { return base64.StdEncoding.EncodeToString(h.bytes()) }

// SRI returns the hash in Subresource Integrity form, such as "sha256-ungWv4…=".
func (h Hash) SRI() string { return h.algo.String() + "-" + h.Base64() }

// WithBase16 returns the algorithm, a colon and the digest in lower-case hex.
func (h Hash) WithBase16() string { return h.algo.String() + ":" + h.Base16() }

// WithNix32 returns the algorithm, a colon and the digest in Nix's base 32.
func (h Hash) WithNix32() string { return h.algo.String() + ":" + h.Nix32() }

// WithBase64 returns the algorithm, a colon and the digest in base 64.
func (h Hash) WithBase64() string { return h.algo.String() + ":" + h.Base64() }

// String returns [Hash.SRI], the form in Nix's JSON, or "" for the zero value.
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return h.SRI()
}

// MarshalText returns [Hash.String] as bytes.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText parses text with [Parse]. An empty text is the zero value.
func (h *Hash) UnmarshalText(text []byte) (err error) {
	*h = Hash{}
	if len(text) > 0 {
		*h, err = Parse(string(text))
	}
	return err
}

// Compress folds a digest to size bytes: byte i is XORed onto byte i modulo size.
// Nix computes the 20 bytes of a store path's hash part from a SHA-256 this way
// (compressHash in src/libutil/hash.cc). It panics if size is not positive.
func Compress(digest []byte, size int) []byte {
	folded := make([]byte, size)
	for i, b := range digest {
		folded[i%size] ^= b
	}
	return folded
}
