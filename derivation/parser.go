package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/storepath"
)

// A parser reads a text from left to right. Its methods return false after the first
// error.
type parser struct {
	text       string
	pos        int           // of the next byte
	nextEscape int           // of the first backslash not before the last string; len(text) if there is none
	dir        storepath.Dir // of all paths; "" until the first one
	demanded   bool          // that dir was given by the caller
	names      []string      // has room for the outputs of inputs that are used
	parsed     *parsed       // what is to be found in the text later

	inputDisorder, variableDisorder bool // whether they must be sorted

	fixed   storepath.Path // what the last fixed output claims to be its path
	fixedAt int
	err     *SyntaxError
	note    *NotCanonicalError // the first thing that is not canonical
	room    *room
}

func newParser(text string, dir storepath.Dir) parser {
	return parser{text: text, nextEscape: indexFrom(text, 0, '\\'), dir: dir, demanded: dir != ""}
}

func (p *parser) fail(offset int, expected, reason string) bool {
	p.err = &SyntaxError{Offset: offset, Reason: reason, Expected: expected}
	return false
}

// notCanonical keeps the first thing that is not canonical.
func (p *parser) notCanonical(offset int, reason string) {
	if p.note == nil || offset < p.note.Offset {
		p.note = &NotCanonicalError{offset, reason}
	}
}

// expect passes over token.
func (p *parser) expect(token string) bool {
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return p.unexpected(token)
	}
	p.pos += len(token)
	return true
}

// unexpected fails at the first byte that is not token's.
func (p *parser) unexpected(token string) bool {
	i := 0
	for i < len(token) && p.pos+i < len(p.text) && p.text[p.pos+i] == token[i] {
		i++
	}
	if p.pos+i == len(p.text) {
		return p.fail(p.pos+i, "`"+token[i:]+"`", "the text ends")
	}
	return p.fail(p.pos+i, "`"+token[i:]+"`", fmt.Sprintf("found %q", p.text[p.pos+i]))
}

// more passes over what stands before an element of a list, or over the list's end,
// which it returns false for. Nix takes a comma here and does not ask for one.
func (p *parser) more(first bool) bool {
	if p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ',':
			if first {
				p.notCanonical(p.pos, "a comma stands before the first element of a list")
			}
			p.pos++
			return true
		case ']':
			p.pos++
			return false
		}
	}
	if !first {
		p.notCanonical(p.pos, "there is no comma before an element of a list")
	}
	return true
}

// disorder notes that an element of a list that Nix sorts is not greater than the one
// before it. It returns false: the list is not sorted.
func (p *parser) disorder(offset int, equal bool) bool {
	if equal {
		p.notCanonical(offset, "this is there twice")
	} else {
		p.notCanonical(offset, "this stands in a sorted list after something greater")
	}
	return false
}

// copyOf returns a list of just the size that is needed; nil if it is empty.
func copyOf[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	c := make([]T, len(list))
	copy(c, list)
	return c
}

// appendTo appends to a list that is mostly short, and gives it room for more at once if
// it is full.
func appendTo[T any](list []T, element T) []T {
	if len(list) == cap(list) {
		list = slices.Grow(list, 3)
	}
	return append(list, element)
}

// sortedSet sorts in place, and keeps each element once.
func sortedSet[K ~string](list []K) []K {
	slices.Sort(list)
	return slices.Compact(list)
}
