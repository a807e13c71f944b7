package nixhash

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"lukechampine.com/blake3"
)

// An Algorithm is one of the hash functions of Nix. The zero value is invalid.
type Algorithm uint8

// The algorithms of Nix 2.34. BLAKE3 exists since Nix 2.27.
const (
	MD5 Algorithm = iota + 1
	SHA1
	SHA256
	SHA512
	BLAKE3
)

var algorithms = [...]struct {
	name string
	size int
	new  func() hash.Hash
}{
	MD5:    {"md5", md5.Size, md5.New},
	SHA1:   {"sha1", sha1.Size, sha1.New},
	SHA256: {"sha256", sha256.Size, sha256.New},
	SHA512: {"sha512", sha512.Size, sha512.New},
	BLAKE3: {"blake3", 32, func() hash.Hash { return blake3.New(32, nil) }},
}

// ParseAlgorithm returns the algorithm with the given name, which must be in lower
// case, as in Nix. The error is a [*SyntaxError].
func ParseAlgorithm(name string) (Algorithm, error) {
	for a := MD5; a <= BLAKE3; a++ {
		if algorithms[a].name == name {
			return a, nil
		}
	}
	return 0, &SyntaxError{name, "unknown hash algorithm, expected blake3, md5, sha1, sha256 or sha512"}
}

// IsValid reports whether a is one of the constants.
func (a Algorithm) IsValid() bool { return MD5 <= a && a <= BLAKE3 }

// String returns Nix's name of the algorithm.
func (a Algorithm) String() string {
	if !a.IsValid() {
		return fmt.Sprintf("Algorithm(%d)", uint8(a))
	}
	return algorithms[a].name
}

// Size returns the length of the digest in bytes, or 0 if a is invalid.
func (a Algorithm) Size() int {
	if !a.IsValid() {
		return 0
	}
	return algorithms[a].size
}

// New returns a new [hash.Hash] for a. It panics if a is invalid.
func (a Algorithm) New() hash.Hash { return algorithms[a].new() }
