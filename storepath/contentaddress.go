package storepath

import (
	"fmt"
	"strings"

	"pix/nixhash"
)

// A Method says what the hash of a content address is computed over.
type Method uint8

// The methods of Nix 2.34. The zero value is invalid.
const (
	Text Method = iota + 1 // the bytes of a file that may have references
	Flat                   // the bytes of a file without references
	NAR                    // the archive of a file, directory or symlink
	Git                    // the git object of a file or directory
)

// methodPrefixes are the prefixes of the algorithm in derivations and fingerprints.
var methodPrefixes = [...]string{Text: "text:", Flat: "", NAR: "r:", Git: "git:"}

// methodNames are the names in Nix's JSON and in outputHashMode.
var methodNames = [...]string{Text: "text", Flat: "flat", NAR: "nar", Git: "git"}

// IsValid reports whether m is one of the constants.
func (m Method) IsValid() bool { return Text <= m && m <= Git }

// String returns the name in Nix's JSON: "text", "flat", "nar" or "git".
func (m Method) String() string {
	if !m.IsValid() {
		return fmt.Sprintf("Method(%d)", uint8(m))
	}
	return methodNames[m]
}

// Prefix returns the prefix of the algorithm in a derivation's output and in
// fingerprints: "text:", "", "r:" or "git:".
func (m Method) Prefix() string {
	if !m.IsValid() {
		return ""
	}
	return methodPrefixes[m]
}

// ParseMethod parses a name that [Method.String] returns, or "recursive", the old
// name of [NAR]. The error is an [*Error].
func ParseMethod(name string) (Method, error) {
	if name == "recursive" {
		return NAR, nil
	}
	for m := Text; m <= Git; m++ {
		if methodNames[m] == name {
			return m, nil
		}
	}
	return 0, &Error{name, "unknown content-address method, expected text, flat, nar or git"}
}

// CutMethod splits the algorithm field of a derivation's output, such as
// "r:sha256", into the method and the algorithm. Without a prefix the method is
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
// comparable. The zero value is not a content address (see [ContentAddress.IsZero]).
type ContentAddress struct {
	method Method
	hash   nixhash.Hash
}

// NewContentAddress returns the content address of that method and hash. The error
// is an [*Error] for an invalid method or a zero hash. It accepts every combination
// of method and algorithm, as Nix does; [Dir.FixedOutputPath] rejects some.
func NewContentAddress(m Method, h nixhash.Hash) (ContentAddress, error) {
	if !m.IsValid() || h.IsZero() {
		return ContentAddress{}, &Error{h.String(), "a content address needs a method and a hash"}
	}
	return ContentAddress{m, h}, nil
}

// ParseContentAddress parses a content address as the protocol, narinfo files and
// the database write it: "text:sha256:<digest>", "fixed:sha256:<digest>",
// "fixed:r:sha256:<digest>", "fixed:git:sha1:<digest>". The digest may be in base
// 32, base 16 or base 64. The error is an [*Error].
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

// ParseMethodAlgorithm parses a content address without its digest, such as
// "fixed:r:sha256", the form in the protocol's AddToStore. The error is an [*Error].
func ParseMethodAlgorithm(s string) (Method, nixhash.Algorithm, error) {
	m, a, rest, err := cutMethodAlgorithm(s + ":")
	if err == nil && rest != "" {
		err = &Error{s, "unexpected text after the algorithm"}
	}
	return m, a, err
}

// FormatMethodAlgorithm returns the text that [ParseMethodAlgorithm] parses.
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
			return 0, 0, "", &Error{s, "text: cannot follow fixed:"}
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

// Method returns the method, or zero for the zero value.
func (c ContentAddress) Method() Method { return c.method }

// Hash returns the hash, or zero for the zero value.
func (c ContentAddress) Hash() nixhash.Hash { return c.hash }

// IsZero reports whether c is the zero value.
func (c ContentAddress) IsZero() bool { return c.method == 0 }

// MethodAlgorithm returns the algorithm field of a derivation's output with this
// content address, such as "r:sha256".
func (c ContentAddress) MethodAlgorithm() string {
	return c.method.Prefix() + c.hash.Algorithm().String()
}

// String returns the form that [ParseContentAddress] parses, with the digest in
// base 32, or "" for the zero value.
func (c ContentAddress) String() string {
	if c.IsZero() {
		return ""
	}
	return FormatMethodAlgorithm(c.method, c.hash.Algorithm()) + ":" + c.hash.Nix32()
}

// MarshalText returns [ContentAddress.String] as bytes.
func (c ContentAddress) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses text with [ParseContentAddress]. An empty text is the zero
// value.
func (c *ContentAddress) UnmarshalText(text []byte) (err error) {
	*c = ContentAddress{}
	if len(text) > 0 {
		*c, err = ParseContentAddress(string(text))
	}
	return err
}
