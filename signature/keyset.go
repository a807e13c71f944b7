package signature

import "strings"

// A KeySet is a set of public keys that are trusted, by their names. Nil is the empty
// set, which trusts nobody. It may be read by any number of goroutines at once.
type KeySet map[string]PublicKey

// NewKeySet returns the set of those keys. Of several of the same name the first counts,
// as in Nix.
func NewKeySet(keys ...PublicKey) KeySet {
	set := make(KeySet, len(keys))
	for _, k := range keys {
		set.add(k)
	}
	return set
}

func (set KeySet) add(k PublicKey) {
	if _, known := set[k.name]; !known {
		set[k.name] = k
	}
}

// ParseKeySet reads public keys with white space between them, as the setting
// trusted-public-keys has them. The error is an [*Error] for the first that is none.
func ParseKeySet(text string) (KeySet, error) {
	set := make(KeySet)
	// These four bytes and no others separate the words of a setting.
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\r", r) }) {
		k, err := ParsePublicKey(word)
		if err != nil {
			return nil, err
		}
		set.add(k)
	}
	return set, nil
}

// Verify returns those of the signatures that keys of the set have made of the message, in
// the order in which they came, each once. Signatures by other keys are passed over.
//
// The error is an [*Error] for the first signature that names a key of the set and has not
// the length of a signature. Nix gives up there; what else is good is returned all the
// same, for callers that would rather go on.
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
		} else if !s.isSound() && err == nil {
			err = bad
		}
	}
	return good, err
}
