package derivation

import (
	"fmt"
	"slices"
	"strings"

	"pix/internal/firstchar"
	"pix/storepath"
)

// A parser reads a text from left to right. Its methods return false after the first error.
type parser struct {
	text       string
	pos        int           // offset of the next byte
	nextEscape int           // offset of the first backslash from the start of the last string on, or len(text)
	dir        storepath.Dir // store directory of all paths; "" until the first one
	dirGiven   bool          // the caller has set dir
	names      []string      // memory for the used outputs of inputs
	parsed     *parsed       // the entries that are read later

	inputsUnsorted, variablesUnsorted bool

	fixed     storepath.Path // the path in the last fixed output
	fixedAt   int
	err       *SyntaxError
	deviation *NotCanonicalError // the first deviation from the canonical text
	scratch   *scratch
}

func newParser(text string, dir storepath.Dir) parser {
	return parser{text: text, nextEscape: indexFrom(text, 0, '\\'), dir: dir, dirGiven: dir != ""}
}

func (p *parser) fail(offset int, expected, reason string) bool {
	p.err = &SyntaxError{Offset: offset, Reason: reason, Expected: expected}
	return false
}

// notCanonical records a deviation from the canonical text, unless an earlier one is recorded.
func (p *parser) notCanonical(offset int, reason string) {
	if p.deviation == nil || offset < p.deviation.Offset {
		p.deviation = &NotCanonicalError{offset, reason}
	}
}

// expect reads token.
func (p *parser) expect(token string) bool {
	if !strings.HasPrefix(p.text[p.pos:], token) {
		return p.unexpected(token)
	}
	p.pos += len(token)
	return true
}

// unexpected fails at the first byte that differs from token.
func (p *parser) unexpected(token string) bool {
	i := 0
	for i < len(token) && p.pos+i < len(p.text) && p.text[p.pos+i] == token[i] {
		i++
	}
	if p.pos+i == len(p.text) {
		return p.fail(p.pos+i, "`"+token[i:]+"`", "the text ends")
	}
	return p.fail(p.pos+i, "`"+token[i:]+"`", "found "+firstchar.Quote(p.text[p.pos+i:]))
}

// more reads the separator before an element of a list, or the end of the list, for which it
// returns false. Nix accepts a comma here but does not require one.
func (p *parser) more(first bool) bool {
	if p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ',':
			if first {
				p.notCanonical(p.pos, "there is a comma before the first element of a list")
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

// unsorted records that an element of a list that Nix sorts is not greater than the previous one.
// It always returns false, the new value of the caller's variable sorted.
func (p *parser) unsorted(offset int, equal bool) bool {
	if equal {
		p.notCanonical(offset, "duplicate element of a list")
	} else {
		p.notCanonical(offset, "the list is not sorted: this follows a greater element")
	}
	return false
}

// copyOf returns a copy of exactly the same length, or nil if list is empty.
func copyOf[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	c := make([]T, len(list))
	copy(c, list)
	return c
}

// appendTo appends to a list that is usually short. If the list is full, it grows by a few
// elements at once.
func appendTo[T any](list []T, element T) []T {
	if len(list) == cap(list) {
		list = slices.Grow(list, 3)
	}
	return append(list, element)
}

// sortedSet sorts in place and removes duplicates.
func sortedSet[K ~string](list []K) []K {
	slices.Sort(list)
	return slices.Compact(list)
}

// checkCanonical returns a [*NotCanonicalError] if no released Nix would have written the text
// that was parsed to d. The parser has already recorded the differences in syntax.
func (p *parser) checkCanonical(d *Derivation) error {
	p.checkFixedPath()
	p.checkControlCharacters(d)
	if p.deviation != nil {
		return p.deviation
	}
	for name := range d.Outputs.Keys() {
		// Old versions accepted every name that is valid after a dash in a store path.
		if name == "" || storepath.CheckName("x-"+name) != nil {
			return &NotCanonicalError{p.offsetOfOutputs(), fmt.Sprintf("%q cannot be the name of an output", truncate(name))}
		}
	}
	if _, err := d.Kind(); err != nil {
		return &NotCanonicalError{p.offsetOfOutputs(), err.Error()}
	}
	return nil
}

func (p *parser) offsetOfOutputs() int { return strings.IndexByte(p.text, '[') }

// checkFixedPath records a deviation if the path of a fixed output is not a store path in the
// derivation's store directory. Nix accepts such a path, but writes the right one.
func (p *parser) checkFixedPath() {
	if p.fixed == "" {
		return
	}
	if _, err := p.dir.Parse(string(p.fixed)); err != nil {
		p.notCanonical(p.fixedAt, "the path of the fixed output is wrong: "+err.Error())
	}
}

// checkControlCharacters records the first tab, line feed or carriage return that is not escaped.
// Nix escapes them everywhere except in the platform, and in fields that cannot contain them.
func (p *parser) checkControlCharacters(d *Derivation) {
	if strings.IndexByte(p.text, '\n') < 0 && strings.IndexByte(p.text, '\t') < 0 && strings.IndexByte(p.text, '\r') < 0 {
		return
	}
	printed := d.String()
	if printed == p.text[:min(p.pos, len(p.text))] {
		return // they are all in the platform
	}
	at := 0
	for at < len(printed) && at < len(p.text) && printed[at] == p.text[at] {
		at++
	}
	p.notCanonical(at, "a tab, line feed or carriage return is not escaped")
}
