package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A SecretKey signs messages. On the zero value, every method except Name and Format
// panics.
//
// Package fmt prints only the name of a key; see [SecretKey.Reveal].
type SecretKey struct {
	name string
	// A closure holds the key because package fmt does not print the contents of one. If a
	// SecretKey is an unexported field of a struct, fmt prints all its fields without calling
	// [SecretKey.Format].
	key func() ed25519.PrivateKey
}

func newSecretKey(name string, key ed25519.PrivateKey) SecretKey {
	return SecretKey{name, func() ed25519.PrivateKey { return key }}
}

// GenerateKey returns a new secret key. The name should identify the owner and have a number,
// because keys are replaced: "cache.example.org-1". The error is an [*Error] if the name is
// empty, or contains a colon, white space or a control character: no list of trusted keys
// could contain such a key.
func GenerateKey(name string) (SecretKey, error) {
	const what = "secret key"
	switch {
	case name == "":
		return SecretKey{}, &Error{what, "", "a key needs a name"}
	case strings.Contains(name, ":"):
		return SecretKey{}, &Error{what, name, "the name contains a colon"}
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return SecretKey{}, &Error{what, name, "the name contains white space or a control character"}
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return SecretKey{}, err
	}
	return newSecretKey(name, key), nil
}

// ParseSecretKey parses "name:base 64" as leniently as [Parse], so a trailing line feed of a
// key file is accepted. The error is an [*Error].
//
// It rejects keys whose second half is not the public key of the first half, which Nix
// accepts. Their signatures do not verify, and two of them reveal the secret.
func ParseSecretKey(s string) (SecretKey, error) {
	const what = "secret key"
	name, bytes, err := parseNamed(what, s)
	if err != nil {
		return SecretKey{}, err
	}
	if len(bytes) != ed25519.PrivateKeySize {
		return SecretKey{}, &Error{what, name, fmt.Sprintf("it has %d bytes instead of %d", len(bytes), ed25519.PrivateKeySize)}
	}
	if !ed25519.NewKeyFromSeed(bytes[:ed25519.SeedSize]).Equal(ed25519.PrivateKey(bytes)) {
		return SecretKey{}, &Error{what, name, "its public half does not match its secret half"}
	}
	return newSecretKey(name, bytes), nil
}

// Name returns the name of the key.
func (k SecretKey) Name() string { return k.name }

// Public returns the public key of k.
func (k SecretKey) Public() PublicKey {
	return PublicKey{k.name, [ed25519.PublicKeySize]byte(k.key()[ed25519.SeedSize:])}
}

// Sign signs a message. Signing the same message again returns the same signature.
func (k SecretKey) Sign(message []byte) Signature {
	return Signature{k.name, string(ed25519.Sign(k.key(), message))}
}

// Reveal returns "name:base 64", the contents of a key file.
func (k SecretKey) Reveal() string {
	return k.name + ":" + base64.StdEncoding.EncodeToString(k.key())
}

// Format prints only the name of the key, for every verb, so that the secret never appears
// in a log or an error message.
func (k SecretKey) Format(f fmt.State, verb rune) { io.WriteString(f, "secret key "+k.name) }

// A PublicKey verifies the signatures of the secret key with the same name. It is comparable.
// The zero value verifies nothing (see [PublicKey.IsZero]).
type PublicKey struct {
	name string
	key  [ed25519.PublicKeySize]byte
}

// ParsePublicKey parses "name:base 64" as leniently as [Parse]. The error is an [*Error].
func ParsePublicKey(s string) (PublicKey, error) {
	const what = "public key"
	name, bytes, err := parseNamed(what, s)
	if err != nil {
		return PublicKey{}, err
	}
	if len(bytes) != ed25519.PublicKeySize {
		return PublicKey{}, &Error{what, name, fmt.Sprintf("it has %d bytes instead of %d", len(bytes), ed25519.PublicKeySize)}
	}
	return PublicKey{name, [ed25519.PublicKeySize]byte(bytes)}, nil
}

// Name returns the name of the key.
func (k PublicKey) Name() string { return k.name }

// Bytes returns a copy of the 32 bytes of the key.
func (k PublicKey) Bytes() []byte { return bytes.Clone(k.key[:]) }

// IsZero reports whether k is the zero value.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns "name:base 64", or "" for the zero value.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return k.name + ":" + base64.StdEncoding.EncodeToString(k.key[:])
}

// MarshalText returns [PublicKey.String] as bytes.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText parses text with [ParsePublicKey]. An empty text is the zero value.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k = PublicKey{}
	if len(text) > 0 {
		*k, err = ParsePublicKey(string(text))
	}
	return err
}

// Verify returns nil if s names this key and is its signature of message. Otherwise it
// returns an [*Error].
func (k PublicKey) Verify(message []byte, s Signature) error {
	const what = "signature"
	switch {
	case k.name == "" || s.keyName != k.name:
		return &Error{what, s.keyName, fmt.Sprintf("its key is not %q", k.name)}
	case !s.hasValidSize():
		return &Error{what, s.keyName, fmt.Sprintf("it has %d bytes instead of %d", len(s.bytes), ed25519.SignatureSize)}
	case isWeak(k.key):
		return &Error{what, s.keyName, "the public key is weak: anybody could sign for it"}
	case isWeak([32]byte([]byte(s.bytes[:32]))), !ed25519.Verify(k.key[:], message, []byte(s.bytes)):
		return &Error{what, s.keyName, "it does not match the signed text"}
	}
	return nil
}
