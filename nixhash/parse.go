package nixhash

import (
	"encoding/hex"
	"fmt"
	"strings"

	"pix/internal/nixbase64"
	"pix/nixbase32"
)

// A SyntaxError reports that a text is not a hash, and why.
type SyntaxError struct {
	Text   string // the text
	Reason string // why it is not a hash
}

func (e *SyntaxError) Error() string {
	const most = 160 // longer than any valid hash
	text := e.Text
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("hash %q: %s", text, e.Reason)
}

// Parse reads a hash that names its algorithm: "sha256:" and a digest in base 16,
// base 32 or base 64, or "sha256-" and base 64 (SRI). The error is a
// [*SyntaxError].
func Parse(s string) (Hash, error) {
	a, rest, sri, err := splitAlgorithm(s)
	if err != nil {
		return Hash{}, err
	}
	if a == 0 {
		return Hash{}, &SyntaxError{s, "does not name its algorithm"}
	}
	return parseDigest(a, rest, sri, s)
}

// ParseAny reads what [Parse] reads, and also a digest without an algorithm, for
// which it assumes a. Unless a is zero, a hash of another algorithm is a
// [*SyntaxError].
func ParseAny(s string, a Algorithm) (Hash, error) {
	if a == 0 {
		return Parse(s)
	}
	named, rest, sri, err := splitAlgorithm(s)
	if err != nil {
		return Hash{}, err
	}
	if named != 0 && named != a {
		return Hash{}, &SyntaxError{s, "should be of algorithm " + a.String()}
	}
	return parseDigest(a, rest, sri, s)
}

// ParseUnprefixed reads a digest of algorithm a in base 16 (upper or lower case),
// base 32 or base 64, without the name of the algorithm. The error is a
// [*SyntaxError].
func ParseUnprefixed(s string, a Algorithm) (Hash, error) {
	if !a.IsValid() {
		return Hash{}, &SyntaxError{s, "unknown algorithm"}
	}
	return parseDigest(a, s, false, s)
}

// ParseSRI reads only the form "sha256-" and base 64, which Nix's JSON requires.
// The error is a [*SyntaxError].
func ParseSRI(s string) (Hash, error) {
	name, rest, ok := strings.Cut(s, "-")
	if !ok {
		return Hash{}, &SyntaxError{s, "is not in SRI form"}
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return Hash{}, err
	}
	return parseDigest(a, rest, true, s)
}

// splitAlgorithm splits s into the algorithm and the digest. sri reports whether
// the separator is a dash. Without a separator the algorithm is zero.
func splitAlgorithm(s string) (a Algorithm, rest string, sri bool, err error) {
	name, rest, ok := strings.Cut(s, ":")
	if !ok {
		name, rest, ok = strings.Cut(s, "-")
		sri = ok
	}
	if !ok {
		return 0, s, false, nil
	}
	a, err = ParseAlgorithm(name)
	return a, rest, sri, err
}

// parseDigest decodes text, the part of whole after the algorithm. Unless sri is
// set, the length of text determines its encoding.
func parseDigest(a Algorithm, text string, sri bool, whole string) (Hash, error) {
	h := Hash{algo: a}
	dst := h.bytes()
	size := len(dst)
	var err error
	switch {
	case sri:
		err = decodeBase64(dst, text)
	case len(text) == hex.EncodedLen(size):
		_, err = hex.Decode(dst, []byte(text))
	case len(text) == nixbase32.EncodedLen(size):
		err = nixbase32.Decode(dst, text)
	case len(text) == (size+2)/3*4:
		err = decodeBase64(dst, text)
	default:
		err = fmt.Errorf("%d characters is a wrong length for algorithm %s", len(text), a)
	}
	if err != nil {
		return Hash{}, &SyntaxError{whole, err.Error()}
	}
	return h, nil
}

// decodeBase64 decodes s into dst, and fails unless s has exactly len(dst) bytes.
func decodeBase64(dst []byte, s string) error {
	n, err := nixbase64.Decode(dst, s)
	if err == nil && n != len(dst) {
		err = fmt.Errorf("length %d is not the expected length %d", n, len(dst))
	}
	return err
}
