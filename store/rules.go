package store

import (
	"fmt"

	"pix/nar"
	"pix/nixhash"
)

// Rules say which version of Nix a program follows where versions make different things of the
// same input. They never decide what can be read.
type Rules int

const (
	// Rules234 are the rules of Nix 2.34, and the default.
	Rules234 Rules = iota

	// Rules236 are the rules of Nix 2.36. The content address of an object that mentions its own path
	// covers the offsets of the mentions.
	Rules236
)

// ParseRules reads "2.34" or "2.36".
func ParseRules(s string) (Rules, error) {
	for _, r := range []Rules{Rules234, Rules236} {
		if s == r.String() {
			return r, nil
		}
	}
	return 0, fmt.Errorf("there are no rules %q: they are 2.34 or 2.36", s)
}

// String returns the version of Nix.
func (r Rules) String() string {
	if r == Rules236 {
		return "2.36"
	}
	return "2.34"
}

// ContentHash returns the one of the hashes that is used in the content address of a new object.
func (r Rules) ContentHash(hashes nar.ContentHashes) nixhash.Hash {
	if r == Rules236 {
		return hashes.WithOffsets
	}
	return hashes.Plain
}

// A RulesStore is a [Store] with an option that says which rules it follows.
type RulesStore interface{ Rules() Rules }

// RulesOf returns the rules for new objects of a store: [Rules234] unless it says otherwise.
func RulesOf(s Store) Rules {
	if r, ok := As[RulesStore](s); ok {
		return r.Rules()
	}
	return Rules234
}
