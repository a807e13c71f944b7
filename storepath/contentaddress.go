package storepath

import (
	"fmt"
	"strings"

	"pix/nixhash"
)

// A Method says over what the hash of a content address is taken.
type Method uint8

// The methods of Nix 2.34. The zero value is none of them.
const (
	Text Method = iota + 1 // the bytes of a file that may refer to other paths
	Flat                   // the bytes of a file that refers to none
	NAR                    // the archive of a file, directory or symlink
	Git                    // the git object of a file or directory
)

// methodPrefixes are what stands before the algorithm in derivations and
// fingerprints.
var methodPrefixes = [...]string{Text: "text:", Flat: "", NAR: "r:", Git: "git:"}

// methodNames are the words of Nix's JSON and of outputHashMode.
var methodNames = [...]string{Text: "text", Flat: "flat", NAR: "nar", Git: "git"}

// IsValid reports whether m is one of the constants.
func (m Method) IsValid() bool { return Text <= m && m <= Git }

// String returns the word that Nix's JSON has for m: "text", "flat", "nar", "git".
func (m Method) String() string {
	if !m.IsValid() {
		return fmt.Sprintf("Method(%d)", uint8(m))
	}
	return methodNames[m]
}

// Prefix returns what stands before the algorithm in a derivation's output and in
// fingerprints: "text:", "", "r:" or "git:".
func (m Method) Prefix() string {
	if !m.IsValid() {
		return ""
	}
	return methodPrefixes[m]
}

// ParseMethod reads the word that [Method.String] returns, and "recursive", the
// older one for [NAR].
func ParseMethod(word string) (Method, error) {
	if word == "recursive" {
		return NAR, nil
	}
	for m := Text; m <= Git; m++ {
		if methodNames[m] == word {
			return m, nil
		}
	}
	return 0, &Error{word, "unknown content-address method, expected text, flat, nar or git"}
}

// CutMethod splits what a derivation's output has in its algorithm field, such as
// "r:sha256", into the method and the rest. It cannot fail: what has no prefix is
// [Flat].
func CutMethod(s string) (m Method, rest string) {
	for _, m := range [...]Method{NAR, Git, Text} {
		if rest, ok := strings.CutPrefix(s, m.Prefix()); ok {
			return m, rest
		}
	}
	return Flat, s
}

// A ContentAddress is the method and the hash of an object's contents. It is
// comparable; the zero value is none.
type ContentAddress struct {
	method Method
	hash   nixhash.Hash
}

// NewContentAddress returns the content address of that method and hash. The error
// is an [*Error] for an invalid method or a zero hash. Any algorithm goes with any
// method here, as in Nix; it is [Dir.FixedOutputPath] that is choosy.
func NewContentAddress(m Method, h nixhash.Hash) (ContentAddress, error) {
	if !m.IsValid() || h.IsZero() {
		return ContentAddress{}, &Error{h.String(), "no content address without a method and a hash"}
	}
	return ContentAddress{m, h}, nil
}

// ParseContentAddress reads the form in which the protocol, narinfo files and the
// database have content addresses: "text:sha256:<digest>", "fixed:sha256:<digest>",
// "fixed:r:sha256:<digest>", "fixed:git:sha1:<digest>". The digest is taken in base
// 32, base 16 and base 64. The error is an [*Error].
func ParseContentAddress(s string) (ContentAddress, error) {
	m, a, digest, err := cutMethodAlgorithm(s)
	if err != nil {
		return ContentAddress{}, err
	}
	h, err := nixhash.ParseUnprefixed(digest, a)
	if err != nil {
		return ContentAddress{}, &Error{s, err.Error()}
	}
	return NewContentAddress(m, h)
}

// ParseMethodAlgorithm reads a content address without its digest, such as
// "fixed:r:sha256", as the protocol's AddToStore has it.
func ParseMethodAlgorithm(s string) (Method, nixhash.Algorithm, error) {
	m, a, rest, err := cutMethodAlgorithm(s + ":")
	if err == nil && rest != "" {
		err = &Error{s, "something follows the algorithm"}
	}
	return m, a, err
}

// FormatMethodAlgorithm is the opposite of [ParseMethodAlgorithm].
func FormatMethodAlgorithm(m Method, a nixhash.Algorithm) string {
	if m == Text {
		return "text:" + a.String()
	}
	return "fixed:" + m.Prefix() + a.String()
}

func cutMethodAlgorithm(s string) (m Method, a nixhash.Algorithm, rest string, err error) {
	kind, rest, ok := strings.Cut(s, ":")
	switch {
	case ok && kind == "text":
		m = Text
	case ok && kind == "fixed":
		if m, rest = CutMethod(rest); m == Text {
			return 0, 0, "", &Error{s, "text does not follow fixed:"}
		}
	default:
		return 0, 0, "", &Error{s, "a content address begins with text: or fixed:"}
	}
	name, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return 0, 0, "", &Error{s, "a content address has an algorithm, a colon and a digest"}
	}
	if a, err = nixhash.ParseAlgorithm(name); err != nil {
		return 0, 0, "", &Error{s, err.Error()}
	}
	return m, a, rest, nil
}

// Method returns the method; zero for the zero value.
func (c ContentAddress) Method() Method { return c.method }

// Hash returns the hash; zero for the zero value.
func (c ContentAddress) Hash() nixhash.Hash { return c.hash }

// IsZero reports whether c is the zero value, which is no content address.
func (c ContentAddress) IsZero() bool { return c.method == 0 }

// MethodAlgorithm returns what a derivation's output has in its algorithm field,
// such as "r:sha256".
func (c ContentAddress) MethodAlgorithm() string {
	return c.method.Prefix() + c.hash.Algorithm().String()
}

// String returns the form that [ParseContentAddress] reads, with the digest in base
// 32; "" for the zero value.
func (c ContentAddress) String() string {
	if c.IsZero() {
		return ""
	}
	return FormatMethodAlgorithm(c.method, c.hash.Algorithm()) + ":" + c.hash.Nix32()
}

// MarshalText writes [ContentAddress.String].
func (c ContentAddress) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what [ParseContentAddress] reads, and the empty text as the
// zero value.
func (c *ContentAddress) UnmarshalText(text []byte) (err error) {
	*c = ContentAddress{}
	if len(text) > 0 {
		*c, err = ParseContentAddress(string(text))
	}
	return err
}
