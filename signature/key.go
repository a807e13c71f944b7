package signature

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// A SecretKey signs. The zero value is no key: its methods panic, but for Name.
//
// Printing it with package fmt shows its name alone; see [SecretKey.Reveal].
type SecretKey struct {
	name string
	// The key is in a closure because package fmt does not look into those. It would look
	// into all else, without asking [SecretKey.Format], where a SecretKey is an unexported
	// field of a struct that is printed.
	key func() ed25519.PrivateKey
}

func newSecretKey(name string, key ed25519.PrivateKey) SecretKey {
	return SecretKey{name, func() ed25519.PrivateKey { return key }}
}

// GenerateKey returns a new secret key. The name should say whose it is and, since keys
// are replaced some day, which: "cache.example.org-1". The error is an [*Error] if the
// name is empty, or has a colon or white space, with which nobody could trust the key.
func GenerateKey(name string) (SecretKey, error) {
	const what = "secret key"
	switch {
	case name == "":
		return SecretKey{}, &Error{what, "", "it needs a name"}
	case strings.Contains(name, ":"):
		return SecretKey{}, &Error{what, name, "its name has a colon"}
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return SecretKey{}, &Error{what, name, "its name has white space"}
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return SecretKey{}, err
	}
	return newSecretKey(name, key), nil
}

// ParseSecretKey reads "name:base 64" as leniently as [Parse], so that it takes the
// contents of a key file with or without a line feed at the end.
//
// It refuses one thing that Nix takes: a key whose second half is not the public key of
// its first. No signature of such a key would hold, and two would give the key away.
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
		return SecretKey{}, &Error{what, name, "its public half does not belong to its secret half"}
	}
	return newSecretKey(name, bytes), nil
}

// Name returns the name of the key.
func (k SecretKey) Name() string { return k.name }

// Public returns the public key that belongs to k.
func (k SecretKey) Public() PublicKey {
	return PublicKey{k.name, [ed25519.PublicKeySize]byte(k.key()[ed25519.SeedSize:])}
}

// Sign signs a message. The same key makes the same signature of it each time.
func (k SecretKey) Sign(message []byte) Signature {
	return Signature{k.name, string(ed25519.Sign(k.key(), message))}
}

// Reveal returns "name:base 64", what a key file holds.
func (k SecretKey) Reveal() string {
	return k.name + ":" + base64.StdEncoding.EncodeToString(k.key())
}

// Format prints the name of the key, whatever the verb, so that no log and no message
// ever has the key itself.
func (k SecretKey) Format(f fmt.State, verb rune) { io.WriteString(f, "secret key "+k.name) }

// A PublicKey verifies what the secret key of the same name has signed. It is comparable;
// the zero value is no key, and nothing verifies with it.
type PublicKey struct {
	name string
	key  [ed25519.PublicKeySize]byte
}

// ParsePublicKey reads "name:base 64" as leniently as [Parse]. The error is an [*Error].
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

// IsZero reports whether k is the zero value, which is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns "name:base 64"; "" for the zero value.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return k.name + ":" + base64.StdEncoding.EncodeToString(k.key[:])
}

// MarshalText writes [PublicKey.String].
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what [ParsePublicKey] reads, and the empty text as the zero value.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	*k = PublicKey{}
	if len(text) > 0 {
		*k, err = ParsePublicKey(string(text))
	}
	return err
}

// Verify returns nil if s is this key's signature of the message, by name and by
// content, and else an [*Error] that says what is wrong.
func (k PublicKey) Verify(message []byte, s Signature) error {
	const what = "signature"
	switch {
	case k.name == "" || s.keyName != k.name:
		return &Error{what, s.keyName, fmt.Sprintf("it is not of the key %q", k.name)}
	case !s.isSound():
		return &Error{what, s.keyName, fmt.Sprintf("it has %d bytes instead of %d", len(s.bytes), ed25519.SignatureSize)}
	case isWeak(k.key):
		return &Error{what, s.keyName, "the public key is one with which anybody could sign"}
	case isWeak([32]byte([]byte(s.bytes[:32]))), !ed25519.Verify(k.key[:], message, []byte(s.bytes)):
		return &Error{what, s.keyName, "it does not match what was signed"}
	}
	return nil
}
