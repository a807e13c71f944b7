package nixhash

import (
	"encoding/hex"
	"fmt"
	"strings"

	"pix/nixbase32"
)

// A SyntaxError says that a text spells no hash, and why.
type SyntaxError struct {
	Text   string // what was read
	Reason string // what is wrong with it
}

func (e *SyntaxError) Error() string {
	const most = 160 // characters of the text to show: the longest real hash is shorter
	text := e.Text
	if len(text) > most {
		text = text[:most] + "…"
	}
	return fmt.Sprintf("hash %q: %s", text, e.Reason)
}

// Parse reads a hash that names its algorithm: "sha256:" and the digest in base
// 16, base 32 or base 64, or the SRI form "sha256-" and base 64. The error is a
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

// ParseAny reads what [Parse] reads, and a digest alone, which is then of
// algorithm a. A hash that names another algorithm than a is an error, unless a
// is zero.
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

// ParseUnprefixed reads a digest of algorithm a in base 16 (either case), base 32
// or base 64, without the algorithm's name before it.
func ParseUnprefixed(s string, a Algorithm) (Hash, error) {
	if !a.IsValid() {
		return Hash{}, &SyntaxError{s, "its algorithm is not known"}
	}
	return parseDigest(a, s, false, s)
}

// ParseSRI reads the form "sha256-" and base 64 alone, which Nix's JSON requires.
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

// splitAlgorithm takes the algorithm's name and its separator off s. Without a
// separator the algorithm is zero.
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

// parseDigest reads the digest in text, which is a part of whole.
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
		err = fmt.Errorf("%d characters are a wrong length for algorithm %s", len(text), a)
	}
	if err != nil {
		return Hash{}, &SyntaxError{whole, err.Error()}
	}
	return h, nil
}
