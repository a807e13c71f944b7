package derivation

import (
	"fmt"
	"strings"

	"pix/storepath"
)

// canonical returns why the text that was parsed to d is not what a released Nix has
// written. What concerns the syntax, the parser has noted on its way; the rest is
// looked for here.
func (p *parser) canonical(d *Derivation) error {
	p.checkFixedPath()
	p.checkControlCharacters(d)
	if p.note != nil {
		return p.note
	}
	for name := range d.Outputs.Keys() {
		// Any name that may follow a dash in a store path was once taken.
		if name == "" || storepath.CheckName("x-"+name) != nil {
			return &NotCanonicalError{p.offsetOfOutputs(), fmt.Sprintf("%q cannot be the name of an output", abridge(name))}
		}
	}
	if _, err := d.Kind(); err != nil {
		return &NotCanonicalError{p.offsetOfOutputs(), err.Error()}
	}
	return nil
}

func (p *parser) offsetOfOutputs() int { return strings.IndexByte(p.text, '[') }

// checkFixedPath notes a path of a fixed output that is no store path of the
// derivation's own directory: Nix takes it, but would have written the right one.
func (p *parser) checkFixedPath() {
	if p.fixed == "" {
		return
	}
	if _, err := p.dir.Parse(string(p.fixed)); err != nil {
		p.notCanonical(p.fixedAt, "the path of the fixed output is wrong: "+err.Error())
	}
}

// checkControlCharacters notes the first tab, line feed or carriage return that is
// not escaped. Nix escapes them everywhere but in the platform (and in fields that
// cannot have them).
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
