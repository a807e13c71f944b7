package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pix/internal/nixbase64"
)

// A Signature is a signature of a message and the name of the key that made it. It is
// comparable. The zero value is not a signature (see [Signature.IsZero]).
type Signature struct {
	keyName string
	bytes   string
}

// New returns the signature with that key name and those bytes. The error is an [*Error] if
// the name is empty or contains a colon, or if there are no bytes. As in Nix, their number
// is checked only when the signature is verified.
func New(keyName string, bytes []byte) (Signature, error) {
	const what = "signature"
	switch {
	case keyName == "":
		return Signature{}, &Error{what, "", "the name of the key is missing"}
	case strings.Contains(keyName, ":"):
		return Signature{}, &Error{what, keyName, "the name of the key contains a colon"}
	case len(bytes) == 0:
		return Signature{}, &Error{what, keyName, "it is empty"}
	}
	return Signature{keyName, string(bytes)}, nil
}

// Parse parses "name:base 64" as leniently as Nix 2.34: padding may be missing, the base 64
// may contain line feeds, and its length only has to be positive. The error is an [*Error].
func Parse(s string) (Signature, error) {
	name, bytes, err := parseNamed("signature", s)
	return Signature{name, string(bytes)}, err
}

// parseNamed parses "name:base 64". Both parts must not be empty.
func parseNamed(what, s string) (name string, bytes []byte, err error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok || name == "" {
		return "", nil, &Error{what, "", "it is not in the form NAME:BASE64"}
	}
	bytes, err = nixbase64.DecodeString(text)
	if err == nil && len(bytes) == 0 {
		err = errors.New("there is no base 64 after the name")
	}
	if err != nil {
		return "", nil, &Error{what, name, err.Error()}
	}
	return name, bytes, nil
}

// Canonical returns the result of [Signature.String] for the signature that s encodes. If s
// is already in this form, as everything that Nix writes, it returns s without allocating.
// It returns the same errors as [Parse].
func Canonical(s string) (string, error) {
	if colon := strings.IndexByte(s, ':'); colon > 0 && isCanonical(s[colon+1:]) {
		return s, nil
	}
	signature, err := Parse(s)
	return signature.String(), err
}

// encodedLen is the length of a signature in base 64.
const encodedLen = 88

// isCanonical reports whether s is the canonical base 64 of a 64-byte signature.
func isCanonical(s string) bool {
	if len(s) != encodedLen || s[encodedLen-2:] != "==" {
		return false
	}
	for _, c := range []byte(s[:encodedLen-2]) {
		if _, ok := nixbase64.Digit(c); !ok {
			return false
		}
	}
	// 86 digits hold 4 bits more than 64 bytes. They must be zero.
	last, _ := nixbase64.Digit(s[encodedLen-3])
	return last&0xf == 0
}

// KeyName returns the name of the key.
func (s Signature) KeyName() string { return s.keyName }

// Bytes returns a copy of the raw signature: 64 bytes if it is valid.
func (s Signature) Bytes() []byte { return []byte(s.bytes) }

// IsZero reports whether s is the zero value.
func (s Signature) IsZero() bool { return s == Signature{} }

// hasValidSize reports whether s has the size of an ed25519 signature. Nix fails with an
// error, instead of rejecting the signature, when it verifies one of another size.
func (s Signature) hasValidSize() bool { return len(s.bytes) == ed25519.SignatureSize }

// Compare orders signatures by key name and then by their bytes, as Nix 2.34 does. Older
// versions order them by their text, which is a different order.
func (s Signature) Compare(other Signature) int {
	if c := strings.Compare(s.keyName, other.keyName); c != 0 {
		return c
	}
	return strings.Compare(s.bytes, other.bytes)
}

// String returns "name:base 64", or "" for the zero value.
func (s Signature) String() string {
	if s.IsZero() {
		return ""
	}
	return s.keyName + ":" + s.base64()
}

func (s Signature) base64() string { return base64.StdEncoding.EncodeToString([]byte(s.bytes)) }

// MarshalText returns [Signature.String] as bytes.
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses text with [Parse]. An empty text is the zero value.
func (s *Signature) UnmarshalText(text []byte) (err error) {
	*s = Signature{}
	if len(text) > 0 {
		*s, err = Parse(string(text))
	}
	return err
}

// A JSONObject is the form of a signature in the JSON of Nix 2.36. In older versions it is a
// string.
type JSONObject struct {
	KeyName string `json:"keyName"`
	Sig     string `json:"sig"` // base 64
}

// JSONObject returns s in the form of Nix 2.36.
func (s Signature) JSONObject() JSONObject { return JSONObject{s.keyName, s.base64()} }

// UnmarshalJSON accepts both forms, the string and the object. It ignores unknown members of
// the object.
func (s *Signature) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil && string(b) != "null" {
		signature, err := Parse(text)
		*s = signature
		return err
	}
	// encoding/json matches the names of struct fields in any case, so decode into a map.
	var object map[string]json.RawMessage
	var o JSONObject
	if json.Unmarshal(b, &object) != nil || json.Unmarshal(object["keyName"], &o.KeyName) != nil || json.Unmarshal(object["sig"], &o.Sig) != nil {
		return &Error{"signature", "", "in JSON it must be a string, or an object with keyName and sig"}
	}
	bytes, err := nixbase64.DecodeString(o.Sig)
	if err != nil {
		return &Error{"signature", o.KeyName, err.Error()}
	}
	*s, err = New(o.KeyName, bytes)
	return err
}

// ParseAll parses signatures and returns them in the order of [Signature.Compare], without
// duplicates. The error is an [*Error] for the first invalid one.
func ParseAll(texts []string) ([]Signature, error) {
	signatures := make([]Signature, 0, len(texts))
	for _, text := range texts {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, s)
	}
	slices.SortFunc(signatures, Signature.Compare)
	return slices.Compact(signatures), nil
}

// An Error reports why a text is not a valid key or signature, or why a signature does not
// verify. It never contains a secret.
type Error struct {
	What   string // "secret key", "public key" or "signature"
	Name   string // name of the key; "" if unknown
	Reason string
}

func (e *Error) Error() string {
	const most = 160 // characters of the name to show
	switch {
	case e.Name == "":
		return e.What + ": " + e.Reason
	case len(e.Name) > most:
		return fmt.Sprintf("%s %q: %s", e.What, e.Name[:most]+"…", e.Reason)
	}
	return fmt.Sprintf("%s %q: %s", e.What, e.Name, e.Reason)
}
