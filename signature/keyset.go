package signature

import "strings"

// A KeySet is a set of trusted public keys by name. A nil KeySet is empty. Any number of
// goroutines may read it at the same time.
type KeySet map[string]PublicKey

// NewKeySet returns the set of the given keys. If several have the same name, it keeps the
// first, as Nix does.
func NewKeySet(keys ...PublicKey) KeySet {
	set := make(KeySet, len(keys))
	for _, k := range keys {
		set.add(k)
	}
	return set
}

func (set KeySet) add(k PublicKey) {
	if _, exists := set[k.name]; !exists {
		set[k.name] = k
	}
}

// ParseKeySet parses public keys separated by white space, the format of the setting
// trusted-public-keys. The error is an [*Error] for the first invalid key.
func ParseKeySet(text string) (KeySet, error) {
	set := make(KeySet)
	// Nix separates the words of a setting by exactly these four characters.
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\r", r) }) {
		k, err := ParsePublicKey(word)
		if err != nil {
			return nil, err
		}
		set.add(k)
	}
	return set, nil
}

// Verify returns the signatures of message that a key of the set has made, in the order of
// signatures and without duplicates. It ignores signatures by other keys.
//
// The error is an [*Error] for the first signature that names a key of the set but does not
// have the size of a signature. Nix fails there. Verify also returns the good signatures,
// for callers that do not.
func (set KeySet) Verify(message []byte, signatures ...Signature) (good []Signature, err error) {
	seen := make(map[Signature]bool, len(signatures))
	for _, s := range signatures {
		k, trusted := set[s.keyName]
		if !trusted || seen[s] {
			continue
		}
		seen[s] = true
		bad := k.Verify(message, s)
		if bad == nil {
			good = append(good, s)
		} else if !s.hasValidSize() && err == nil {
			err = bad
		}
	}
	return good, err
}
