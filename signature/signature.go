package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// A Signature is what a key made of a message, and the name of the key. It is comparable;
// the zero value is no signature.
type Signature struct {
	keyName string
	bytes   string
}

// New returns the signature of that key and those bytes. The error is an [*Error] if the
// name is empty or has a colon, or if there are no bytes. Their number is not looked at
// before the signature is verified, as in Nix.
func New(keyName string, bytes []byte) (Signature, error) {
	const what = "signature"
	switch {
	case keyName == "":
		return Signature{}, &Error{what, "", "the name of its key is missing"}
	case strings.Contains(keyName, ":"):
		return Signature{}, &Error{what, keyName, "the name of its key has a colon"}
	case len(bytes) == 0:
		return Signature{}, &Error{what, keyName, "it is empty"}
	}
	return Signature{keyName, string(bytes)}, nil
}

// Parse reads "name:base 64" as leniently as Nix 2.34: without padding, with line feeds in
// the base 64, of any length but zero. The error is an [*Error].
func Parse(s string) (Signature, error) {
	name, bytes, err := parseNamed("signature", s)
	return Signature{name, string(bytes)}, err
}

// parseNamed reads "name:base 64", of which neither may be empty.
func parseNamed(what, s string) (name string, bytes []byte, err error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok || name == "" {
		return "", nil, &Error{what, "", "it is not a name, a colon and base 64"}
	}
	bytes, err = decodeBase64(text)
	if err == nil && len(bytes) == 0 {
		err = fmt.Errorf("nothing follows the name")
	}
	if err != nil {
		return "", nil, &Error{what, name, err.Error()}
	}
	return name, bytes, nil
}

// Canonical returns the spelling that [Signature.String] has for what s spells. That is s
// itself, without an allocation, for whatever Nix wrote. Its errors are those of [Parse].
func Canonical(s string) (string, error) {
	if colon := strings.IndexByte(s, ':'); colon > 0 && isCanonical(s[colon+1:]) {
		return s, nil
	}
	signature, err := Parse(s)
	return signature.String(), err
}

// KeyName returns the name of the key.
func (s Signature) KeyName() string { return s.keyName }

// Bytes returns a copy of the signature itself, 64 bytes if it is a sound one.
func (s Signature) Bytes() []byte { return []byte(s.bytes) }

// IsZero reports whether s is the zero value, which is no signature.
func (s Signature) IsZero() bool { return s == Signature{} }

// isSound reports whether s has the length that signatures have. Nix fails, and does not
// merely say no, when it is to verify one of another length.
func (s Signature) isSound() bool { return len(s.bytes) == ed25519.SignatureSize }

// Compare orders signatures as Nix 2.34 does: by the name of the key, then by the bytes.
// That is not the order of their spellings, which Nix had before.
func (s Signature) Compare(other Signature) int {
	if c := strings.Compare(s.keyName, other.keyName); c != 0 {
		return c
	}
	return strings.Compare(s.bytes, other.bytes)
}

// String returns "name:base 64"; "" for the zero value.
func (s Signature) String() string {
	if s.IsZero() {
		return ""
	}
	return s.keyName + ":" + s.base64()
}

func (s Signature) base64() string { return base64.StdEncoding.EncodeToString([]byte(s.bytes)) }

// MarshalText writes [Signature.String].
func (s Signature) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what [Parse] reads, and the empty text as the zero value.
func (s *Signature) UnmarshalText(text []byte) (err error) {
	*s = Signature{}
	if len(text) > 0 {
		*s, err = Parse(string(text))
	}
	return err
}

// A JSONObject is the newer form of a signature in JSON, that of Nix 2.36. The older is
// the string.
type JSONObject struct {
	KeyName string `json:"keyName"`
	Sig     string `json:"sig"` // base 64
}

// JSONObject returns the newer form of s in JSON.
func (s Signature) JSONObject() JSONObject { return JSONObject{s.keyName, s.base64()} }

// UnmarshalJSON reads both forms. Members of the object that are not known are passed
// over.
func (s *Signature) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil && string(b) != "null" {
		signature, err := Parse(text)
		*s = signature
		return err
	}
	// Not into the struct, because that would match names of any case.
	var object map[string]json.RawMessage
	var o JSONObject
	if json.Unmarshal(b, &object) != nil || json.Unmarshal(object["keyName"], &o.KeyName) != nil || json.Unmarshal(object["sig"], &o.Sig) != nil {
		return &Error{"signature", "", "in JSON it is a string, or an object with keyName and sig"}
	}
	bytes, err := decodeBase64(o.Sig)
	if err != nil {
		return &Error{"signature", o.KeyName, err.Error()}
	}
	*s, err = New(o.KeyName, bytes)
	return err
}

// ParseAll reads signatures, and returns them in the order of [Signature.Compare], each
// once. The error is that of the first that is none.
func ParseAll(texts []string) ([]Signature, error) {
	signatures := make([]Signature, 0, len(texts))
	for _, text := range texts {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, s)
	}
	sort.Slice(signatures, func(i, j int) bool { return signatures[i].Compare(signatures[j]) < 0 })
	return slices.Compact(signatures), nil
}
